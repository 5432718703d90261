// Decimal text to binary floating point, whatever locale the process has set.
#ifndef PANINI_NUMBER_H
#define PANINI_NUMBER_H

// `text` is a complete JSON number followed by a NUL. Correctly rounded; infinity when it is beyond a double.
double panini_parse_double(const char *text);
#endif
