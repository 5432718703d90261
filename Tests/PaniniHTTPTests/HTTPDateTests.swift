// Dates of HTTP.

import Testing

@testable import PaniniHTTP

@Test(
    "dates are written as HTTP wants them",
    arguments: [(784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"), (0, "Thu, 01 Jan 1970 00:00:00 GMT")]
)
func dates(seconds: Int, text: String) {
    #expect(HTTPDate.text(seconds) == text)
}
