#include <stdio.h> /* all of the shim */
