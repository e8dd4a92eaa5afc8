/* Writes to nowhere. */
static void store(int *to)
{
    *to = 1;
}

int main(void)
{
    store((int *)8);
    return 0;
}
