// The bound on connections of the control socket: a value.

import Testing

@testable import Panini

@Suite("Connections of the control socket")
struct ControlConnectionsTests {
    @Test("those that have asked nothing give way, the oldest first")
    func givesWay() {
        var connections = ControlConnections()
        let most = UInt64(ControlConnections.most)
        for number in 1...most { #expect(connections.opened(number) == .admitted) }
        #expect(connections.opened(most + 1) == .instead(of: 1))
        connections.asked(2)
        #expect(connections.opened(most + 2) == .instead(of: 3))
        #expect(connections.count == ControlConnections.most)
        connections.closed(2)
        #expect(connections.opened(most + 3) == .admitted)
    }

    @Test("those that wait for an answer do not")
    func refuses() {
        var connections = ControlConnections()
        for number in 1...UInt64(ControlConnections.most) {
            _ = connections.opened(number)
            connections.asked(number)
        }
        #expect(connections.opened(1000) == .refused)
        connections.asked(1000)
        connections.closed(1000)
        #expect(connections.count == ControlConnections.most)
        connections.closed(7)
        #expect(connections.opened(1001) == .admitted)
    }
}
