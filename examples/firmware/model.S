/* model.S - the file MODEL, in read-only memory. */
    .section .rodata.model, "a"
    .balign 64
    .global board_model
    .global board_model_end
board_model:
    .incbin MODEL
board_model_end:
#if defined(__linux__)
    .section .note.GNU-stack, "", %progbits
#endif
