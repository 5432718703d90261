// Owns: a stream's configuration as JSON, written and read. What the server does not have to be told is left out. Pure.

import Bytes
import NATSProtocol
import NIOCore

extension JetStreamStream.Configuration {
    /// The API level that a server must have (A1), 0 for any.
    var requiredLevel: Int {
        if features.allowsFastBatches || sources.contains(where: { $0.consumer != nil }) || mirror?.consumer != nil {
            return 4
        }
        if features.isCounter || features.allowsAtomicBatches || features.allowsSchedules || features.persistsLater {
            return 2
        }
        return features.allowsMessageTTL || features.deleteMarkerTTL != nil ? 1 : 0
    }

    /// Refuses names and subjects that the server would not take, or misread.
    func check() throws(JetStreamError) {
        try JetStreamNames.check(name, "stream")
        for subject in subjects { try JetStreamNames.checkFilter(subject) }
        for source in sources { try JetStreamNames.check(source.name, "stream") }
        if let mirror {
            try JetStreamNames.check(mirror.name, "stream")
            guard subjects.isEmpty else {
                throw JetStreamError(.invalidArgument, "the mirror \(name) cannot have subjects of its own")
            }
        }
    }

    var json: JSONText {
        var members = JSONMembers()
        members.set("name", name)
        members.set("subjects", subjects)
        members.set("description", description)
        members.set("retention", retention.rawValue)
        members.set("storage", storage.rawValue)
        members.set("num_replicas", replicas)
        members.set("placement", placement?.members)
        limits.write(to: &members)
        members.set("duplicate_window", duplicateWindow)
        members.set("mirror", mirror?.members)
        if !sources.isEmpty { members.set("sources", .array(sources.map(\.members.value))) }
        members.set("subject_transform", transform?.members)
        members.set("republish", republish?.members)
        if compresses { members.set("compression", "s2") }
        members.set("first_seq", firstSequence)
        access.write(to: &members)
        members.set("consumer_limits", consumerLimits?.members)
        features.write(to: &members)
        members.set("metadata", metadata)
        return members.value
    }

    init(json: JSONValue) {
        self.init(name: json.text("name"), subjects: json.texts("subjects"))
        description = json.text("description")
        metadata = json.textsByName("metadata").filter { !$0.key.begins(with: "_nats.") }
        retention = JetStreamStream.Retention(rawValue: json.text("retention")) ?? .limits
        storage = JetStreamStream.Storage(rawValue: json.text("storage")) ?? .file
        replicas = json.positive("num_replicas")
        placement = json["placement"].map {
            JetStreamStream.Placement(cluster: $0.text("cluster"), tags: $0.texts("tags"))
        }
        limits = JetStreamStream.Limits(json: json)
        duplicateWindow = json.positive("duplicate_window").map { .nanoseconds(Int64($0)) }
        mirror = json["mirror"].map { JetStreamStream.Source(json: $0) }
        sources = json["sources"]?.array?.map { JetStreamStream.Source(json: $0) } ?? []
        transform = json["subject_transform"].map { JetStreamStream.Transform(json: $0) }
        republish = json["republish"].map {
            JetStreamStream.Republish(
                source: $0.text("src"),
                destination: $0.text("dest"),
                headersOnly: $0.flag("headers_only")
            )
        }
        compresses = json.text("compression").isExactly("s2")
        firstSequence = json.positive("first_seq").map(UInt64.init)
        access = JetStreamStream.Access(json: json)
        consumerLimits = json["consumer_limits"].flatMap { JetStreamStream.ConsumerLimits(json: $0) }
        features = JetStreamStream.Features(json: json)
    }
}

extension JSONValue {
    /// A number above zero; the server writes -1 or 0 where there is no limit.
    func positive(_ name: String) -> Int? { self[name]?.integer.flatMap { $0 > 0 ? $0 : nil } }
}

extension JetStreamStream.Limits {
    fileprivate func write(to members: inout JSONMembers) {
        members.set("max_msgs", messages)
        members.set("max_bytes", bytes)
        members.set("max_age", age)
        members.set("max_msgs_per_subject", messagesPerSubject)
        members.set("max_msg_size", messageSize)
        members.set("max_consumers", consumers)
        members.set("discard", discard.rawValue)
        members.set("discard_new_per_subject", discardsNewPerSubject)
    }

    fileprivate init(json: JSONValue) {
        messages = json.positive("max_msgs").map(Int64.init)
        bytes = json.positive("max_bytes").map(Int64.init)
        age = json.positive("max_age").map { .nanoseconds(Int64($0)) }
        messagesPerSubject = json.positive("max_msgs_per_subject").map(Int64.init)
        messageSize = json.positive("max_msg_size")
        consumers = json.positive("max_consumers")
        discard = JetStreamStream.Discard(rawValue: json.text("discard")) ?? .old
        discardsNewPerSubject = json.flag("discard_new_per_subject")
    }
}

extension JetStreamStream.Access {
    fileprivate func write(to members: inout JSONMembers) {
        members.set("allow_direct", allowsDirect)
        members.set("mirror_direct", mirrorsDirect)
        members.set("sealed", isSealed)
        members.set("deny_delete", deniesDelete)
        members.set("deny_purge", deniesPurge)
        members.set("allow_rollup_hdrs", allowsRollup)
        members.set("no_ack", hasNoAcks)
    }

    fileprivate init(json: JSONValue) {
        allowsDirect = json.flag("allow_direct")
        mirrorsDirect = json.flag("mirror_direct")
        isSealed = json.flag("sealed")
        deniesDelete = json.flag("deny_delete")
        deniesPurge = json.flag("deny_purge")
        allowsRollup = json.flag("allow_rollup_hdrs")
        hasNoAcks = json.flag("no_ack")
    }
}

extension JetStreamStream.Features {
    fileprivate func write(to members: inout JSONMembers) {
        members.set("allow_msg_ttl", allowsMessageTTL)
        members.set("subject_delete_marker_ttl", deleteMarkerTTL)
        members.set("allow_msg_counter", isCounter)
        members.set("allow_atomic", allowsAtomicBatches)
        members.set("allow_batched", allowsFastBatches)
        members.set("allow_msg_schedules", allowsSchedules)
        if persistsLater { members.set("persist_mode", "async") }
    }

    fileprivate init(json: JSONValue) {
        allowsMessageTTL = json.flag("allow_msg_ttl")
        deleteMarkerTTL = json.positive("subject_delete_marker_ttl").map { .nanoseconds(Int64($0)) }
        isCounter = json.flag("allow_msg_counter")
        allowsAtomicBatches = json.flag("allow_atomic")
        allowsFastBatches = json.flag("allow_batched")
        allowsSchedules = json.flag("allow_msg_schedules")
        persistsLater = json.text("persist_mode").isExactly("async")
    }
}

extension JetStreamStream.Placement {
    fileprivate var members: JSONMembers {
        var members = JSONMembers()
        members.set("cluster", cluster)
        members.set("tags", tags)
        return members
    }
}

extension JetStreamStream.Transform {
    fileprivate var members: JSONMembers {
        var members = JSONMembers()
        members.set("src", source)
        members.set("dest", destination)
        return members
    }

    fileprivate init(json: JSONValue) {
        self.init(source: json.text("src"), destination: json.text("dest"))
    }
}

extension JetStreamStream.Republish {
    fileprivate var members: JSONMembers {
        var members = JSONMembers()
        members.set("src", source)
        members.set("dest", destination)
        members.set("headers_only", headersOnly)
        return members
    }
}

extension JetStreamStream.ConsumerLimits {
    fileprivate var members: JSONMembers {
        var members = JSONMembers()
        members.set("inactive_threshold", inactiveThreshold)
        members.set("max_ack_pending", maxAckPending)
        return members
    }

    fileprivate init?(json: JSONValue) {
        self.init()
        inactiveThreshold = json.positive("inactive_threshold").map { .nanoseconds(Int64($0)) }
        maxAckPending = json.positive("max_ack_pending")
        // The server answers with an empty one where none was asked for.
        if inactiveThreshold == nil, maxAckPending == nil { return nil }
    }
}

extension JetStreamStream.Source {
    fileprivate var members: JSONMembers {
        var members = JSONMembers()
        members.set("name", name)
        members.set("opt_start_seq", startSequence)
        members.set("opt_start_time", startTime)
        members.set("filter_subject", filter)
        if !transforms.isEmpty { members.set("subject_transforms", .array(transforms.map(\.members.value))) }
        if let external {
            var other = JSONMembers()
            other.set("api", external.apiPrefix)
            // The server wants it, even empty.
            other.set("deliver", .string(external.deliverPrefix))
            members.set("external", other)
        }
        if let consumer {
            var other = JSONMembers()
            other.set("name", consumer.name)
            other.set("deliver_subject", consumer.deliverSubject)
            members.set("consumer", other)
        }
        return members
    }

    fileprivate init(json: JSONValue) {
        self.init(name: json.text("name"))
        startSequence = json.positive("opt_start_seq").map(UInt64.init)
        startTime = json.time("opt_start_time")
        filter = json.text("filter_subject")
        transforms = json["subject_transforms"]?.array?.map { JetStreamStream.Transform(json: $0) } ?? []
        external = json["external"].map {
            JetStreamStream.External(apiPrefix: $0.text("api"), deliverPrefix: $0.text("deliver"))
        }
        consumer = json["consumer"].map {
            JetStreamStream.SourceConsumer(name: $0.text("name"), deliverSubject: $0.text("deliver_subject"))
        }
    }
}
