/* A child by fork and one by vfork, both of which call what a breakpoint is in. */
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int calls;

static void called(void)
{
    calls++;
}

static int status_of(pid_t child)
{
    int status = -1;
    waitpid(child, &status, 0);
    return status;
}

int main(void)
{
    pid_t child = fork();
    if (child == 0) {
        called();
        _exit(5);
    }
    printf("forked: %x\n", status_of(child));
    child = vfork();
    if (child == 0) {
        called();
        _exit(6);
    }
    printf("vforked: %x\n", status_of(child));
    fflush(stdout);
    called();
    return calls;
}
