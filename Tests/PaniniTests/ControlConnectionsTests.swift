// The control socket: the bound on its connections, a value, and where its folder is.

import Foundation
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

@Suite("The folder of the control socket")
struct ControlPlacesTests {
    private static func withFolder(_ body: (ControlPlaces, String) throws -> Void) throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("panini-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try body(ControlPlaces(temporary: folder, runtime: folder + "/none", variable: { _ in nil }), folder)
    }

    @Test("a name that somebody else has taken gives way to one that nobody can guess, and that is found again")
    func taken() throws {
        try Self.withFolder { places, folder in
            let usual = "\(folder)/panini-\(getuid())"
            #expect(places.usual == usual)
            #expect(places.all.isEmpty)
            // What is no folder of the user's alone: here a file, and a folder that others may write to.
            #expect(FileManager.default.createFile(atPath: usual, contents: nil))
            let open = usual + "-open"
            try FileManager.default.createDirectory(atPath: open, withIntermediateDirectories: false)
            chmod(open, 0o777)
            let other = places.usual
            #expect(other.hasPrefix(usual + "-") && other != open)
            try ControlDirectory.prepare(other)
            #expect(places.usual == other)
            #expect(places.all == [other])
            // Whoever took it is gone: programs are looked for in both.
            unlink(usual)
            try ControlDirectory.prepare(places.usual)
            #expect(places.all == [usual, other])
            #expect(places.usual == usual)
        }
    }

    @Test("a folder that was named is the only one")
    func named() throws {
        try Self.withFolder { places, folder in
            var places = places
            places.runtime = folder
            chmod(folder, 0o700)
            #expect(places.usual == folder + "/panini")
            places.variable = { $0 == "XDG_RUNTIME_DIR" ? "/x" : nil }
            #expect(places.all == ["/x/panini"])
            places.variable = { $0 == "PANINI_CONTROL_DIR" ? "/y" : "/x" }
            #expect(places.usual == "/y")
        }
    }
}
