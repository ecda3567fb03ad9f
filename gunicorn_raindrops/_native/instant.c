#include "instant.h"

enum { NS_DIGITS = 9, MOST_DIGITS = 20 };

struct scan {
	const char *at;
	const char *end;
};

static int is_next(const struct scan *text, char wanted)
{
	return text->at < text->end && *text->at == wanted;
}

static int take(struct scan *text, char wanted)
{
	if (!is_next(text, wanted))
		return 0;
	text->at++;
	return 1;
}

static void skip_blanks(struct scan *text)
{
	while (take(text, ' ') || take(text, '\t'))
		;
}

static int count_digits(const struct scan *text)
{
	int count = 0;

	while (text->at + count < text->end && text->at[count] >= '0' && text->at[count] <= '9')
		count++;
	return count;
}

/* Append the digits that are there to a number, as many as are wanted; any that lack are 0. */
static int append(struct scan *text, int there, int wanted, int64_t *number)
{
	for (int i = 0; i < wanted; i++) {
		int digit = i < there ? text->at[i] - '0' : 0;

		if (__builtin_mul_overflow(*number, 10, number) ||
		    __builtin_add_overflow(*number, digit, number))
			return 0;
	}
	text->at += there;
	return 1;
}

static int digits_to_ns(int64_t whole)
{
	if (whole < 100000000000)
		return NS_DIGITS;
	if (whole < 100000000000000)
		return 6;
	return whole < 100000000000000000 ? 3 : 0;
}

static int take_instant(struct scan *text, int64_t *ns)
{
	int whole = count_digits(text), fraction = 0;

	if (whole < 1 || whole > MOST_DIGITS || !append(text, whole, whole, ns))
		return 0;
	if (take(text, '.')) {
		fraction = count_digits(text);
		if (fraction < 1 || fraction > MOST_DIGITS)
			return 0;
	}
	return append(text, fraction, digits_to_ns(*ns), ns);
}

int64_t grd_instant(const char *text, size_t size)
{
	struct scan scan = {text, text + size};
	int64_t ns = 0;

	skip_blanks(&scan);
	if (take(&scan, 't') && !take(&scan, '='))
		return -1;
	if (!take_instant(&scan, &ns))
		return -1;
	skip_blanks(&scan);
	return scan.at == scan.end ? ns : -1;
}
