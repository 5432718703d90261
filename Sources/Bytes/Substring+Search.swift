// Owns: searching a text in a text, which the standard library leaves to Foundation; byte by byte. Pure, any thread.

extension Substring {
    /// Where `text` is met first; nil when it is not.
    package func range(ofText text: some StringProtocol) -> Range<Index>? {
        let length = text.utf8.count
        var start = startIndex
        while start < endIndex {
            if utf8[start...].starts(with: text.utf8) { return start..<utf8.index(start, offsetBy: length) }
            start = utf8.index(after: start)
        }
        return nil
    }
}
