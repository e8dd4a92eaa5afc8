/* Functions, locals, a global; ends with a status. */
#include <stdio.h>

static int counter;

static int add(int a, int b)
{
    int sum = a + b;
    counter += sum;
    return sum;
}

int twice(int n)
{
    return add(n, n);
}

int main(void)
{
    int total = 0;
    for (int i = 0; i < 3; i++)
        total += add(i, i + 1);
    printf("total %d, counter %d\n", total, counter);
    fflush(stdout);
    return total;
}
