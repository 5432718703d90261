// Searching a text in a text, which the standard library leaves to Foundation. Pure, any thread.

extension Substring {
    /// Where `text` is met first; nil when it is not.
    package func range(ofText text: some StringProtocol) -> Range<Index>? {
        var start = startIndex
        while start < endIndex {
            if self[start...].hasPrefix(text) { return start..<index(start, offsetBy: text.count) }
            start = index(after: start)
        }
        return nil
    }
}
