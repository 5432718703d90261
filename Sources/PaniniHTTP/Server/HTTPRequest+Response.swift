// Owns: the way of a response from whoever gives it to the connection or the stream: compression, where the client asks for it.
// Loop-bound.

import NIOCore
import NIOHTTP1

extension HTTPRequest {
    /// Gives the response; does nothing when it comes too late.
    package func respond(_ response: HTTPResponse) {
        response.body.withUnsafeBytes { respond(status: response.status, headers: response.headers, body: $0) }
    }

    /// The same for a body that lies elsewhere.
    package func respond(status: Int, headers: HTTPFields, body: UnsafeRawBufferPointer) {
        guard let connection else { return }
        guard body.count >= HTTPCoding.minimumBytes, let compressor, HTTPCoding.isWorthIt(status, headers) else {
            return connection.respond(number, status: status, headers: headers, body: body)
        }
        let headers = HTTPCoding.varying(headers)
        if let format = acceptedFormat {
            let sent: Void? = compressor.encode(body, format) {
                connection.respond(number, status: status, headers: HTTPCoding.encoded(headers, format), body: $0)
            }
            if sent != nil { return }
        }
        connection.respond(number, status: status, headers: headers, body: body)
    }

    private var acceptedFormat: HTTPDeflater.Format? { HTTPCoding.choose(head.headers["accept-encoding"]) }

    // MARK: - Streams

    /// Begins a response whose body follows in pieces of unknown number.
    package func beginStream(status: Int, headers: HTTPFields) {
        guard let connection, isOpen else { return }
        guard let compressor, HTTPCoding.isWorthIt(status, headers) else {
            return connection.beginStream(number, status: status, headers: headers)
        }
        var headers = HTTPCoding.varying(headers)
        if let format = acceptedFormat, let encoder = compressor.openStream(format) {
            self.encoder = encoder
            headers = HTTPCoding.encoded(headers, format)
        }
        connection.beginStream(number, status: status, headers: headers)
    }

    /// Writes a piece of a stream. A compressed one can be read by the client as soon as it is there, too.
    ///
    /// - Returns: False when the client does not keep up: wait for the delegate's `canWrite`.
    package func write(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard let connection else { return false }
        guard let encoder, !bytes.isEmpty else { return connection.write(number, bytes) }
        var encoded = ByteBuffer()
        encoder.write(bytes, into: &encoded)
        return encoded.withUnsafeReadableBytes { connection.write(number, $0) }
    }

    /// Ends a stream: with its end mark, or without, so that the client sees that something is missing.
    package func endStream(isComplete: Bool) {
        if let encoder, isComplete, let connection {
            var rest = ByteBuffer()
            encoder.finish(into: &rest)
            _ = rest.withUnsafeReadableBytes { connection.write(number, $0) }
        }
        closeEncoder()
        connection?.endStream(number, isComplete: isComplete)
    }

    /// Its connection is gone, or its response complete.
    func closeEncoder() {
        guard encoder != nil else { return }
        encoder = nil
        compressor?.streamEnded()
    }

    // MARK: - Files

    /// Responds with a part of a file, which is closed afterwards.
    package func respond(status: Int, headers: HTTPFields, file: HTTPFile, range: Range<Int>) {
        guard let connection, isOpen else { return file.close() }
        guard let compressor, (HTTPCoding.minimumBytes...HTTPCompressor.maximumFileBytes).contains(file.size),
            HTTPCoding.isText(file.mediaType)
        else { return connection.respond(number, status: status, headers: headers, file: file, range: range) }
        // For 304 and parts, too: they are responses to the same choice.
        let headers = HTTPCoding.varying(headers)
        if range == 0..<file.size, HTTPCoding.isWorthIt(status, headers), let format = acceptedFormat,
            let bytes = file.contents()
        {
            let sent: Void? = bytes.withUnsafeReadableBytes { bytes in
                compressor.encode(bytes, format) {
                    connection.respond(number, status: status, headers: HTTPCoding.encoded(headers, format), body: $0)
                }
            }
            if sent != nil { return file.close() }
        }
        connection.respond(number, status: status, headers: headers, file: file, range: range)
    }
}

extension HTTPFile {
    /// All of its bytes; nil when it cannot be read, or has become shorter.
    fileprivate func contents() -> ByteBuffer? {
        var buffer = ByteBuffer()
        while buffer.readableBytes < size {
            let at = buffer.readableBytes
            guard read(at..<size, into: &buffer) > 0 else { return nil }
        }
        return buffer
    }
}
