/* Counts a signal that it sends itself. */
#include <signal.h>
#include <stdio.h>

static volatile int counted;

static void count(int signal)
{
    counted += signal == SIGUSR1 ? 1 : 10;
}

static void between(void)
{
}

int main(void)
{
    signal(SIGUSR1, count);
    signal(SIGUSR2, count);
    raise(SIGUSR1);
    between();
    raise(SIGUSR1);
    printf("counted %d\n", counted);
    return counted;
}
