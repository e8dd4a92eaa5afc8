/* Two threads: the first waits for the second, which takes its time to let it. */
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

static int done;

static void work(int n)
{
    done = n;
    done = n + 1;
}

static void *run(void *arg)
{
    usleep(300000);
    work(*(int *)arg);
    return 0;
}

int main(void)
{
    pthread_t other;
    int n = 41;
    pthread_create(&other, 0, run, &n);
    pthread_join(other, 0);
    printf("done %d\n", done);
    return 0;
}
