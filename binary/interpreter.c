/* Python, as its own main program is, but that the way to its libraries is not handed down. */

#include <stdlib.h>

int Py_BytesMain(int argc, char **argv);

int main(int argc, char **argv) {
    unsetenv("LD_LIBRARY_PATH");
    return Py_BytesMain(argc, argv);
}
