/* Registers of every kind with values of their own. */
#include <string.h>

static void here(void)
{
}

int main(void)
{
    double a = 1.5, b = -2.25;
    long double c = 3.75L;
    float four[4] = {1, 2, 3, 4};
    __asm__ volatile("movups %0, %%xmm3" : : "m"(four) : "xmm3");
    __asm__ volatile("movsd %0, %%xmm5" : : "m"(a) : "xmm5");
    __asm__ volatile("fldt %0" : : "m"(c));
    __asm__ volatile("fldl %0" : : "m"(b));
    here();
    __asm__ volatile("fstpl %0" : "=m"(b));
    __asm__ volatile("fstpt %0" : "=m"(c));
    return memcmp(&a, &b, sizeof a) == 0;
}
