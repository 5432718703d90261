// Owns: media types by the ending of a file's name. Constants; any thread.

/// Media types of files.
package enum HTTPMediaTypes {
    private static let texts: [String: String] = [
        "css": "text/css", "csv": "text/csv", "htm": "text/html", "html": "text/html", "ics": "text/calendar",
        "js": "text/javascript", "lua": "text/plain", "md": "text/markdown", "mjs": "text/javascript",
        "txt": "text/plain",
        "vtt": "text/vtt", "xml": "application/xml", "svg": "image/svg+xml",
    ]
    private static let others: [String: String] = [
        "avif": "image/avif", "bmp": "image/bmp", "gif": "image/gif", "gz": "application/gzip", "ico": "image/x-icon",
        "jpeg": "image/jpeg", "jpg": "image/jpeg", "json": "application/json", "map": "application/json",
        "mp3": "audio/mpeg", "mp4": "video/mp4", "m4a": "audio/mp4", "oga": "audio/ogg", "ogg": "audio/ogg",
        "ogv": "video/ogg", "otf": "font/otf", "pdf": "application/pdf", "png": "image/png", "tar": "application/x-tar",
        "ttf": "font/ttf", "wasm": "application/wasm", "wav": "audio/wav", "weba": "audio/webm", "webm": "video/webm",
        "webmanifest": "application/manifest+json", "webp": "image/webp", "woff": "font/woff", "woff2": "font/woff2",
        "zip": "application/zip",
    ]

    /// The media type of a file, with the character set of texts; `application/octet-stream` for what is not known.
    ///
    /// - Parameter name: The file's name or path.
    package static func of(_ name: String) -> String {
        let last = name.split(separator: "/").last ?? ""
        guard let dot = last.lastIndex(of: ".") else { return "application/octet-stream" }
        let ending = last[last.index(after: dot)...].lowercased()
        if let text = texts[ending] { return "\(text); charset=utf-8" }
        return others[ending] ?? "application/octet-stream"
    }
}
