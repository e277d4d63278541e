package slm

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// What slm.h has and this package leaves to its users: nothing here needs them.
var notBound = map[string]bool{
	"slm_clock_ns":                   true, // deadlines are context.Context's
	"slm_chat_template_options_init": true, // start and end tokens are the model's
}

// Structs, types and values come from slm.h itself: cgo reads it. What may drift is what is missing:
// a constant of a kind that has names here, or a function that nothing calls. SLM_LAYOUT names the file
// that `make layout` writes; only a package outside of the repository has none.
func TestNothingOfTheHeaderIsMissing(t *testing.T) {
	named := os.Getenv("SLM_LAYOUT")
	if named == "" {
		named = "../../build/layout.txt"
	}
	layout, err := os.ReadFile(named)
	if _, outside := os.Stat("../../slm.h"); err != nil && outside != nil {
		t.Skip("slm.h is not there to compare with")
	}
	check(t, err == nil, err, "make layout writes it")
	values := map[string]int64{
		"SLM_LOG_INFO": int64(LogInfo), "SLM_LOG_WARN": int64(LogWarning),
		"SLM_TEXT_BOS": int64(BOS), "SLM_TEXT_SPECIAL": int64(Special),
		"SLM_TEXT_CLEAN": int64(Clean),
		"SLM_WANT_NONE":  int64(WantNothing), "SLM_WANT_LAST": int64(WantLast), "SLM_WANT_ALL": int64(WantAll),
		"SLM_POOLING_NONE": int64(PoolingNone), "SLM_POOLING_MEAN": int64(PoolingMean),
		"SLM_POOLING_CLS": int64(PoolingCLS), "SLM_POOLING_LAST": int64(PoolingLast),
		"SLM_POOLING_RANK": int64(PoolingRank),
		"SLM_END_TOKEN":    int64(EndToken), "SLM_END_STOP": int64(EndStop), "SLM_END_LIMIT": int64(EndLimit),
		"SLM_END_FULL":  int64(EndFull),
		"SLM_CHAT_NONE": int64(EventNone), "SLM_CHAT_REASONING": int64(EventReasoning),
		"SLM_CHAT_ANSWER": int64(EventAnswer), "SLM_CHAT_TOOL_CALL": int64(EventToolCall),
		"SLM_CHAT_END": int64(EventEnd),
	}
	for _, status := range []Status{ErrArgument, ErrMemory, ErrIO, ErrFormat, ErrModel, ErrUnsupported, ErrSpace,
		ErrFull, ErrCancelled, ErrDeadline, ErrBusy, ErrForked, ErrNumeric, ErrThread, ErrTemplate} {
		values[status.Error()] = int64(status)
	}
	kinds := regexp.MustCompile("^SLM_(E|LOG|TEXT|WANT|POOLING|END|CHAT)_")
	var sources strings.Builder
	for _, file := range must(filepath.Glob("*.go")) {
		if !strings.HasSuffix(file, "_test.go") {
			sources.Write(must(os.ReadFile(file)))
		}
	}
	functions := 0
	for _, line := range strings.Split(string(layout), "\n") {
		words := strings.Fields(line)
		switch {
		case len(words) == 3 && words[0] == "const" && kinds.MatchString(words[1]):
			value, err := strconv.ParseInt(words[2], 10, 64)
			if mine, ok := values[words[1]]; err != nil || !ok || mine != value {
				t.Errorf("%s is %s in slm.h, here %d", words[1], words[2], mine)
			}
		case len(words) > 2 && words[0] == "function":
			functions++
			if !notBound[words[1]] && !strings.Contains(sources.String(), "C."+words[1]+"(") {
				t.Errorf("nothing calls %s", words[1])
			}
		}
	}
	check(t, functions > 60, functions)
}
