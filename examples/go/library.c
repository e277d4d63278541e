/* library.c - the whole of slm, compiled into this package. Go looks for changes in this folder only:
 * after an edit of slm's own sources build with `go build -a`, or give CGO_CFLAGS another value. */
#include "../../slm.c"
