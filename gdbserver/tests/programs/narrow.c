// Made without a C library, so that no 32-bit one is needed.

int counter;

static int add(int a, int b)
{
    int sum = a + b;
    counter += sum;
    return sum;
}

static void leave(int status)
{
    __asm__ volatile("int $0x80" : : "a"(1), "b"(status));
}

static double half(double value)
{
    return value / 2;
}

void _start(void)
{
    int total = 0;
    for (int i = 1; i <= 3; i++)
        total += add(i, 2 * i);
    total += (int)half(4.0);
    leave(total);
}
