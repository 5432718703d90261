// Owns: header fields as instruments read and write them. Values; any thread.

import Instrumentation

/// The fields of a message, as a carrier of contexts.
struct TraceHeaders: Sendable {
    var fields: [(name: String, value: String)] = []

    struct Reader: Extractor {
        func extract(key: String, from carrier: TraceHeaders) -> String? {
            carrier.fields.first { $0.name.lowercased() == key.lowercased() }?.value
        }
    }

    struct Writer: Injector {
        func inject(_ value: String, forKey key: String, into carrier: inout TraceHeaders) {
            carrier.fields.append((key, value))
        }
    }
}
