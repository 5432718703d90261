// Which subjects and queue names are refused before anything is sent, and which patterns match which subjects.

import NATSProtocol
import Testing

@Suite(.timeLimit(.minutes(5))) struct NATSSubjectTests {
    @Test(
        "rules 4 and 8: subjects for both",
        arguments: [
            "a", "a.b", "foo.bar.baz", "_INBOX.x.y", "$SYS.a", "a-b_c", "a*b", "a>b", "*a", "a.b>", "ä.ö", "1.2",
        ]
    )
    func publishes(_ subject: String) {
        #expect(NATSSubject.isValidForPublish(subject))
        #expect(NATSSubject.isValidForSubscribe(subject))
    }

    @Test(
        "rules 4 and 8: wildcards are for subscriptions",
        arguments: ["*", "a.*", "*.a", "a.*.b", ">", "a.>", "*.>"]
    )
    func subscribesToWildcardsOnly(_ subject: String) {
        #expect(!NATSSubject.isValidForPublish(subject))
        #expect(NATSSubject.isValidForSubscribe(subject))
    }

    @Test(
        "rules 4 and 8: empty subjects and tokens, white space and control characters are refused",
        arguments: [
            "", ".", "a.", ".a", "a..b", "a b", "a\tb", "a\r\n", "a\nb", " a", "a ", "a\u{0}b", "a\u{7F}", "a.>.b",
            ">.a",
            "a.b.", "..",
        ]
    )
    func refuses(_ subject: String) {
        #expect(!NATSSubject.isValidForPublish(subject))
        #expect(!NATSSubject.isValidForSubscribe(subject))
    }

    @Test("rule 8: a queue has a name without white space")
    func checksQueueNames() {
        #expect(NATSSubject.isValidQueue("workers"))
        #expect(NATSSubject.isValidQueue("a.b>*"))
        for queue in ["", "a b", "a\r", "\t", "a\n"] {
            #expect(!NATSSubject.isValidQueue(queue))
        }
    }

    @Test(
        arguments: [
            ("a.b", "a.b", true), ("a.b", "a.c", false), ("a.b", "a", false), ("a", "a.b", false), ("a.*", "a.b", true),
            ("a.*", "a.b.c", false), ("*.b", "a.b", true), ("a.>", "a.b", true), ("a.>", "a.b.c", true),
            ("a.>", "a", false),
            (">", "a", true), (">", "a.b.c", true), ("*.*", "a.b", true), ("*.*", "a", false), ("a*", "ab", false),
            ("a.*.c", "a.b.c", true), ("a.*.c", "a.b.d", false),
        ])
    func matches(_ pattern: String, _ subject: String, _ expected: Bool) {
        Array(pattern.utf8).withUnsafeBytes { pattern in
            Array(subject.utf8).withUnsafeBytes { subject in
                #expect(NATSSubject.matches(pattern: pattern, subject: subject) == expected)
            }
        }
    }
}
