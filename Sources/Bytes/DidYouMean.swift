// Owns: the "did you mean" suggestion for misspelt names. A pure function; any thread.

/// Finds the known name nearest to a misspelt one.
///
/// - Parameters:
///   - name: What was written.
///   - known: The names that exist.
/// - Returns: The nearest name by edit distance, or `nil` when none is near enough to be a misspelling.
package func nearestName(to name: String, in known: [String]) -> String? {
    // A long name is nobody's misspelling, and the distance is quadratic.
    guard !name.isEmpty, name.utf8.count <= 64 else { return nil }
    let written = Array(name.lowercased().utf8)
    var best: (distance: Int, name: String)?
    for candidate in known {
        let distance = editDistance(written, Array(candidate.utf8))
        if distance < (best?.distance ?? Int.max) { best = (distance, candidate) }
    }
    guard let best, best.distance <= max(1, min(3, written.count / 2)) else { return nil }
    return best.name
}

/// Levenshtein's distance with adjacent transpositions counted as one step, as typists make them.
private func editDistance(_ a: [UInt8], _ b: [UInt8]) -> Int {
    var beforeLast: [Int] = []
    var last = Array(0...b.count)
    for i in 1...a.count {
        var row = [i]
        row.reserveCapacity(b.count + 1)
        for j in stride(from: 1, through: b.count, by: 1) {
            let substitution = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)
            var cost = min(substitution, last[j] + 1, row[j - 1] + 1)
            if i > 1, j > 1, a[i - 1] == b[j - 2], a[i - 2] == b[j - 1] {
                cost = min(cost, beforeLast[j - 2] + 1)
            }
            row.append(cost)
        }
        beforeLast = last
        last = row
    }
    return last[b.count]
}

/// The end of an error text: `; did you mean "x"?`, or the list of what exists when it is short.
package func suggestion(for name: String, in known: [String]) -> String {
    if let near = nearestName(to: name, in: known) { return "; did you mean \"\(near)\"?" }
    if known.count <= 12 { return "; known: \(known.sorted().joined(separator: ", "))" }
    return ""
}
