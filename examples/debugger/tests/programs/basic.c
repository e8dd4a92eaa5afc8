#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum colour { RED, GREEN, BLUE };

struct point {
    int x, y;
    const char *name;
    enum colour colour;
};

static int counter;
static volatile int signals;
double ratio = 1.5;

static int square(int n)
{
    int result = n * n;
    return result;
}

static int sum(const struct point *p, int times)
{
    int total = 0;
    for (int i = 0; i < times; i++) {
        total += square(p->x) + p->y;
        counter += 1;
    }
    return total;
}

static void *work(void *arg)
{
    int own = *(int *)arg;
    own += square(own);
    *(int *)arg = own;
    return arg;
}

static void count(int signal)
{
    signals += signal == SIGUSR1;
}

int main(void)
{
    signal(SIGUSR1, count);
    struct point point = { 3, -4, "here", BLUE };
    int numbers[4] = { 1, 2, 3, 5 };
    int total = sum(&point, 2);
    pthread_t thread;
    pthread_create(&thread, NULL, work, &numbers[3]);
    pthread_join(thread, NULL);
    raise(SIGUSR1);
    raise(SIGUSR1);
    pid_t child = fork();
    if (child == 0)
        _exit(square(2));
    int status;
    waitpid(child, &status, 0);
    printf("%d %d %d %d\n", total, numbers[3], WEXITSTATUS(status), signals);
    fflush(stdout);
    return 7;
}
