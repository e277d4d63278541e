// hello lets a model tell a story: go run ./hello MODEL PROMPT
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	slm "example.org/slm/examples/go"
)

func tell(path, prompt string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	model, err := slm.OpenModel(ctx, path, nil)
	if err != nil {
		return err
	}
	defer model.Close()
	c, err := model.NewContext(nil)
	if err != nil {
		return err
	}
	defer c.Close()
	fmt.Print(prompt)
	_, err = c.Generate(ctx, os.Stdout, prompt, &slm.GenerateOptions{MaxTokens: 200})
	fmt.Println()
	return err
}

func main() {
	path, prompt := "../models/storyteller-q8_0.gguf", "Once upon a time"
	if len(os.Args) > 1 {
		path = os.Args[1]
	}
	if len(os.Args) > 2 {
		prompt = os.Args[2]
	}
	if err := tell(path, prompt); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
