/* two.c - one program with two copies of slm that are configured differently: each with a prefix of
 * its own, and with it a program of tests/dist/dist_test.c, whose main is named FIRST and SECOND. */
int FIRST(void);
int SECOND(void);

int main(void)
{
    int status = FIRST();
    return SECOND() != 0 || status != 0;
}
