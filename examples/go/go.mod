module example.org/slm/examples/go

go 1.19
