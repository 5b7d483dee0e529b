/* Owns the terminal a session is used from. Must never leave it raw. */
#include "terminal.h"

#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static struct termios before;
static bool is_taken;

bool terminal_size(struct terminal_size *size)
{
	struct winsize window;
	if (ioctl(STDIN_FILENO, TIOCGWINSZ, &window) != 0)
		return false;
	*size = (struct terminal_size){window.ws_row, window.ws_col};
	return true;
}

bool terminal_take(struct terminal_size *size)
{
	struct termios raw;
	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO) || tcgetattr(STDIN_FILENO, &before) != 0 || !terminal_size(size))
		return false;
	raw = before;
	/* The guest's terminal echoes, edits and makes signals of keys; this one passes bytes on. */
	cfmakeraw(&raw);
	is_taken = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
	return is_taken;
}

void terminal_restore(void)
{
	if (is_taken)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
	is_taken = false;
}
