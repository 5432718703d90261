// What a listener's subject keeps for those who hold pointers to it.

import Synchronization
import Testing

@testable import Panini

@Suite struct ListenerSubjectTests {
    @Test("the statistics that a message under way points to live as long as its subject, whatever takes their place")
    func endpoints() throws {
        var subject: ListenerSubject? = ListenerSubject(pattern: try SubjectPattern("a.{b}"), parameters: nil)
        let pointer = Unmanaged.passUnretained(try #require(subject).endpoint).toOpaque()
        weak let first = subject?.endpoint
        weak var second: Endpoint?
        do {
            let other = Endpoint()
            second = other
            subject?.takeOver(other)
        }
        #expect(subject?.endpoint === second && second != nil)
        subject?.takeOver(Endpoint())
        #expect(first != nil && second != nil)
        Unmanaged<Endpoint>.fromOpaque(pointer).takeUnretainedValue().requests.add(1)
        #expect(first?.requests.load(ordering: .relaxed) == 1)
        subject = nil
        #expect(first == nil && second == nil)
    }
}
