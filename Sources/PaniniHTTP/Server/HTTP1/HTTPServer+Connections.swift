// Owns: what a new connection of a server speaks: HTTP/1 until it says otherwise. Loop-bound.

package import NIOCore

extension HTTPServer {
    /// Serves a client over a channel of this server's loop.
    package func serve(_ channel: any Channel) throws {
        try listener.secure(channel)
        try channel.pipeline.syncOperations.addHandler(HTTP1Connection(server: self))
    }
}
