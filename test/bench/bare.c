// The least that a hook could be: a static program that ends at once.
int main(void) { return 0; }
