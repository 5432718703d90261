// The routing table of the broker: which subscriptions match a subject. A trie over the tokens of subscribed subjects
// with `*` and `>` branches and queue groups, and in front of it a bounded cache of whole match results, so that the
// common case (a subject that was published to before) is one hash of its bytes and no allocation.
// A plain value without I/O and without any knowledge of clients: a subscription is a number given by the owner.

import Bytes
import NATSProtocol

/// Who gets a message on one subject.
package struct SubjectMatch: Equatable {
    /// Subscriptions without a queue group: each of them gets the message.
    package var plain: [SubjectIndex.Subscription] = []
    /// Queue groups: one member of each gets the message. Members of one group may have subscribed to different
    /// patterns.
    package var groups: [Group] = []

    package struct Group: Equatable {
        package let queue: [UInt8]
        package var members: [SubjectIndex.Subscription]
    }

    package var isEmpty: Bool { plain.isEmpty && groups.isEmpty }
}

/// Subscriptions by subject, with wildcards and queue groups.
package struct SubjectIndex {
    package typealias Subscription = Int
    private typealias NodeIndex = UInt32

    private struct Node {
        var plain: [Subscription] = []
        var groups: [SubjectMatch.Group] = []
        var star: NodeIndex = 0
        var tail: NodeIndex = 0
        var parent: NodeIndex = 0
        var literalChildren = 0

        var isUseless: Bool { plain.isEmpty && groups.isEmpty && star == 0 && tail == 0 && literalChildren == 0 }
    }

    private static let root: NodeIndex = 0

    /// Node 0 is the root, and as nothing leads to it "0" as a branch means none.
    private var nodes: [Node] = [Node()]
    private var freeNodes: [NodeIndex] = []
    /// Literal branches of all nodes: the key is the token's bytes in the space of the parent node.
    private var edges: [ByteKey: NodeIndex] = [:]

    /// Where a queue group stands in the list of its node: the key is its name in the space of the node.
    private var groupPlaces: [ByteKey: Int] = [:]
    /// Where a subscription, by its number, stands in the one list that it is in.
    private var places: [Int32] = []

    private var cache: [ByteKey: SubjectMatch] = [:]
    private let cacheCapacity: Int
    /// How many receivers the cached results have together, and how many they may have.
    private var cachedReceivers = 0
    private let cacheReceivers: Int

    /// How many subscriptions are in the index.
    package private(set) var count = 0
    /// How many nodes are in use besides the root; 0 when there is no subscription (tests watch it for leaks).
    package var nodeCount: Int { nodes.count - 1 - freeNodes.count }
    /// How many subjects have their match result cached.
    package var cachedSubjectCount: Int { cache.count }

    /// - Parameters:
    ///   - cacheCapacity: how many subjects may have their result cached. When it is full it is emptied: with more live
    ///     subjects than that, the trie is walked more often, nothing else.
    ///   - cacheReceivers: how many receivers these results may have together.
    package init(cacheCapacity: Int = 1024, cacheReceivers: Int = 1 << 18) {
        self.cacheCapacity = cacheCapacity
        self.cacheReceivers = cacheReceivers
    }
}

// MARK: - Changes

extension SubjectIndex {
    /// Adds `subscription`, a small number that is not in the index yet. `subject` must be a valid pattern; an empty
    /// `queue` means no queue group.
    package mutating func insert(
        _ subscription: Subscription,
        subject: UnsafeRawBufferPointer,
        queue: UnsafeRawBufferPointer = .none
    ) {
        var current = Self.root
        var tokens = SubjectTokens(subject)
        while let token = tokens.next() {
            current =
                child(of: current, token: token, isLast: tokens.isAtEnd)
                ?? addChild(of: current, token: token, isLast: tokens.isAtEnd)
        }
        while places.count <= subscription { places.append(0) }
        let node = Int(current)
        if queue.isEmpty {
            places[subscription] = Int32(nodes[node].plain.count)
            nodes[node].plain.append(subscription)
        } else if let group = groupPlaces[ByteKey(borrowing: queue, space: current)] {
            places[subscription] = Int32(nodes[node].groups[group].members.count)
            nodes[node].groups[group].members.append(subscription)
        } else {
            places[subscription] = 0
            groupPlaces[ByteKey(copying: queue, space: current)] = nodes[node].groups.count
            nodes[node].groups.append(.init(queue: Array(queue), members: [subscription]))
        }
        count += 1
        forgetResults()
    }

    /// Removes `subscription`, which was inserted with the same subject and queue. Returns false when it is not there.
    @discardableResult
    package mutating func remove(
        _ subscription: Subscription,
        subject: UnsafeRawBufferPointer,
        queue: UnsafeRawBufferPointer = .none
    ) -> Bool {
        var current = Self.root
        var tokens = SubjectTokens(subject)
        while let token = tokens.next() {
            guard let next = child(of: current, token: token, isLast: tokens.isAtEnd) else { return false }
            current = next
        }
        guard removeEntry(subscription, queue: queue, from: current) else { return false }
        count -= 1
        if count == 0 {
            // What many subscriptions have taken goes back with the last of them.
            self = SubjectIndex(cacheCapacity: cacheCapacity, cacheReceivers: cacheReceivers)
        } else {
            prune(from: current, subject: subject)
            forgetResults()
        }
        return true
    }

    private mutating func removeEntry(
        _ subscription: Subscription,
        queue: UnsafeRawBufferPointer,
        from index: NodeIndex
    ) -> Bool {
        let node = Int(index)
        if queue.isEmpty {
            return Self.remove(subscription, from: &nodes[node].plain, &places)
        }
        guard let group = groupPlaces[ByteKey(borrowing: queue, space: index)],
            Self.remove(subscription, from: &nodes[node].groups[group].members, &places)
        else { return false }
        if nodes[node].groups[group].members.isEmpty {
            groupPlaces[ByteKey(borrowing: queue, space: index)] = nil
            let last = nodes[node].groups.removeLast()
            if group < nodes[node].groups.count {
                nodes[node].groups[group] = last
                last.queue.withUnsafeBytes { groupPlaces[ByteKey(borrowing: $0, space: index)] = group }
            }
        }
        return true
    }

    /// Removes a subscription from the list that it is in, whose last member takes its place.
    private static func remove(
        _ subscription: Subscription,
        from list: inout [Subscription],
        _ places: inout [Int32]
    ) -> Bool {
        guard subscription < places.count else { return false }
        let place = Int(places[subscription])
        guard place < list.count, list[place] == subscription else { return false }
        let last = list.removeLast()
        if place < list.count {
            list[place] = last
            places[last] = Int32(place)
        }
        return true
    }

    private func child(of parent: NodeIndex, token: UnsafeRawBufferPointer, isLast: Bool) -> NodeIndex? {
        switch SubjectTokens.kind(of: token, isLast: isLast) {
        case .star: nodes[Int(parent)].star.nonZero
        case .tail: nodes[Int(parent)].tail.nonZero
        case .literal: edges[ByteKey(borrowing: token, space: parent)]
        }
    }

    private mutating func addChild(of parent: NodeIndex, token: UnsafeRawBufferPointer, isLast: Bool) -> NodeIndex {
        let new: NodeIndex
        if let free = freeNodes.popLast() {
            new = free
            nodes[Int(new)] = Node()
        } else {
            new = NodeIndex(nodes.count)
            nodes.append(Node())
        }
        nodes[Int(new)].parent = parent
        switch SubjectTokens.kind(of: token, isLast: isLast) {
        case .star:
            nodes[Int(parent)].star = new
        case .tail:
            nodes[Int(parent)].tail = new
        case .literal:
            nodes[Int(parent)].literalChildren += 1
            edges[ByteKey(copying: token, space: parent)] = new
        }
        return new
    }

    /// Frees the nodes on the way back to the root that nothing needs any more. The tokens of `subject` are read from
    /// its end, in step with the parents.
    private mutating func prune(from leaf: NodeIndex, subject: UnsafeRawBufferPointer) {
        var current = leaf
        var end = subject.count
        while current != Self.root, nodes[Int(current)].isUseless {
            var start = end
            while start > 0, subject[start - 1] != ASCII.dot {
                start -= 1
            }
            let parent = nodes[Int(current)].parent
            if nodes[Int(parent)].star == current {
                nodes[Int(parent)].star = 0
            } else if nodes[Int(parent)].tail == current {
                nodes[Int(parent)].tail = 0
            } else {
                let token = UnsafeRawBufferPointer(rebasing: subject[start..<end])
                edges[ByteKey(borrowing: token, space: parent)] = nil
                nodes[Int(parent)].literalChildren -= 1
            }
            freeNodes.append(current)
            current = parent
            end = start - 1
        }
    }

    private mutating func forgetResults() {
        if !cache.isEmpty {
            cache.removeAll(keepingCapacity: true)
            cachedReceivers = 0
        }
    }
}

// MARK: - Matching

extension SubjectIndex {
    /// Who gets a message published to `subject`, through the cache. A subject with an empty token matches nobody;
    /// wildcard characters in it are taken literally, as nats-server does.
    package mutating func match(_ subject: UnsafeRawBufferPointer) -> SubjectMatch {
        if let cached = cache[ByteKey(borrowing: subject)] { return cached }
        let match = walk(subject)
        // A reply subject is used once: caching it would only push out subjects that come again.
        if !Self.isInbox(subject) {
            let receivers = match.groups.reduce(match.plain.count) { $0 + 1 + $1.members.count }
            if cache.count >= cacheCapacity || cachedReceivers + receivers > cacheReceivers {
                forgetResults()
            }
            if receivers <= cacheReceivers {
                cachedReceivers += receivers
                cache[ByteKey(copying: subject)] = match
            }
        }
        return match
    }

    /// Who gets a message published to `subject`, read from the trie.
    package func walk(_ subject: UnsafeRawBufferPointer) -> SubjectMatch {
        var found: [NodeIndex] = []
        var level: [NodeIndex] = [Self.root]
        var below: [NodeIndex] = []
        var tokens = SubjectTokens(subject)
        while let token = tokens.next() {
            if token.isEmpty { return SubjectMatch() }
            below.removeAll(keepingCapacity: true)
            for index in level {
                let node = nodes[Int(index)]
                if node.tail != 0 {
                    found.append(node.tail)
                }
                if node.star != 0 {
                    below.append(node.star)
                }
                if node.literalChildren > 0, let next = edges[ByteKey(borrowing: token, space: index)] {
                    below.append(next)
                }
            }
            swap(&level, &below)
        }
        found.append(contentsOf: level)
        return collect(found)
    }

    private func collect(_ found: [NodeIndex]) -> SubjectMatch {
        var match = SubjectMatch()
        // Needed once several nodes have groups, of which those of one name become one.
        var known: [[UInt8]: Int] = [:]
        var isIndexed = false
        for index in found where index != Self.root {
            match.plain.append(contentsOf: nodes[Int(index)].plain)
            let groups = nodes[Int(index)].groups
            if match.groups.isEmpty {
                match.groups = groups
                continue
            }
            if !groups.isEmpty, !isIndexed {
                isIndexed = true
                for (place, group) in match.groups.enumerated() { known[group.queue] = place }
            }
            for group in groups {
                if let place = known[group.queue] {
                    match.groups[place].members.append(contentsOf: group.members)
                } else {
                    known[group.queue] = match.groups.count
                    match.groups.append(group)
                }
            }
        }
        return match
    }

    private static func isInbox(_ subject: UnsafeRawBufferPointer) -> Bool {
        ASCII.hasPrefix(subject, ignoringCase: "_inbox.")
    }
}

// MARK: - Tokens

/// Walks the tokens of a subject, the parts between its dots. An empty subject has one empty token.
private struct SubjectTokens {
    enum Kind {
        case literal
        case star
        case tail
    }

    private let subject: UnsafeRawBufferPointer
    private var position = 0

    init(_ subject: UnsafeRawBufferPointer) {
        self.subject = subject
    }

    /// Whether the token last returned was the last one.
    var isAtEnd: Bool { position > subject.count }

    mutating func next() -> UnsafeRawBufferPointer? {
        guard position <= subject.count else { return nil }
        let start = position
        while position < subject.count, subject[position] != ASCII.dot {
            position += 1
        }
        let token = UnsafeRawBufferPointer(rebasing: subject[start..<position])
        position += 1
        return token
    }

    /// What a token of a subscribed pattern means: `*` and `>` are wildcards only as whole tokens, `>` only at the end.
    static func kind(of token: UnsafeRawBufferPointer, isLast: Bool) -> Kind {
        guard token.count == 1 else { return .literal }
        if token[0] == ASCII.star { return .star }
        return token[0] == ASCII.greater && isLast ? .tail : .literal
    }
}

extension UInt32 {
    fileprivate var nonZero: UInt32? { self == 0 ? nil : self }
}

@available(*, unavailable)
extension SubjectIndex: Sendable {}
