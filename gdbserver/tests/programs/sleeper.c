/* Says that it is ready, and sleeps until a debugger lets it go. */
#include <stdio.h>
#include <unistd.h>

volatile int go;

int main(void)
{
    puts("ready");
    fflush(stdout);
    for (int i = 0; !go && i < 600; i++)
        usleep(100000);
    puts("gone");
    return go;
}
