// Where the program of the tests begins. SwiftPM finds this file by its name and then does not look for tests of XCTest, which it
// could only do with an index of the sources. There are none: all tests are of Swift Testing, which finds its tests itself.

import Testing

@main
struct TestProgram {
    static func main() async {
        // `swift test` starts the program once for each of the two libraries.
        if CommandLine.arguments.contains("xctest") { return }
        await Testing.__swiftPMEntryPoint() as Never
    }
}
