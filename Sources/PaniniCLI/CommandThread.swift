// A plain thread for commands that wait without Swift's concurrency: its executor's threads wake up once a second, and a
// service that has nothing to do should cost nothing.

import Glibc

enum CommandThread {
    private final class Start {
        let body: @Sendable () -> Void

        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }

    /// Runs `body` on a thread of its own; it is expected to end the program.
    static func start(_ body: @escaping @Sendable () -> Void) {
        var thread = pthread_t()
        let argument = Unmanaged.passRetained(Start(body)).toOpaque()
        let status = pthread_create(
            &thread,
            nil,
            { argument in
                guard let argument else { return nil }
                Unmanaged<Start>.fromOpaque(argument).takeRetainedValue().body()
                return nil
            },
            argument
        )
        guard status == 0 else {
            PaniniProgram.finish(CommandError("no thread can be started: \(String(cString: strerror(status)))"))
        }
        pthread_detach(thread)
    }
}
