// Owns: noticing that files of services may have changed: inotify on their folders, and a look at the files themselves
// every second for what brings no events (bind mounts, network file systems). Lives on the host's loop. Whether something
// has really changed is for the service to say.

import Glibc
import Logging
import NIOCore
import NIOPosix

/// Watches the folders of services' files.
final class FileWatcher {
    /// How long it stays quiet after a change before it looks: editors save in several steps.
    private static let quiet = TimeAmount.milliseconds(30)
    /// How long a stream of changes may put off the look.
    private static let longest = TimeAmount.milliseconds(200)
    private static let pollInterval = TimeAmount.seconds(1)

    private let loop: any EventLoop
    private let logger: Logger
    private var services: [ServiceController] = []
    private var descriptor: CInt = -1
    private var channel: (any Channel)?
    /// The folder of each of inotify's watches.
    private var folders: [CInt: String] = [:]
    private var dirty: Set<String> = []
    private var firstChange: NIODeadline?
    private var look: Scheduled<Void>?
    private var polls: RepeatedTask?

    init(loop: any EventLoop, logger: Logger) {
        self.loop = loop
        self.logger = logger
    }

    func start() {
        let box = NIOLoopBound(self, eventLoop: loop)
        polls = loop.scheduleRepeatedTask(initialDelay: Self.pollInterval, delay: Self.pollInterval) { _ in
            box.value.poll()
        }
        descriptor = inotify_init1(CInt(IN_NONBLOCK) | CInt(IN_CLOEXEC))
        guard descriptor >= 0 else {
            logger.warning("no file events (\(String(cString: strerror(errno)))): files are looked at every second")
            return
        }
        NIOPipeBootstrap(group: loop)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(INotifyHandler(watcher: box.value))
                }
            }
            .takingOwnershipOfDescriptor(input: descriptor)
            .whenComplete { result in
                switch result {
                case .success(let channel):
                    box.value.channel = channel
                    if box.value.polls == nil { channel.close(promise: nil) }
                case .failure(let error): box.value.logger.warning("no file events: \(error)")
                }
            }
    }

    func stop() {
        polls?.cancel()
        polls = nil
        look?.cancel()
        look = nil
        channel?.close(promise: nil)
        channel = nil
        descriptor = -1
        services = []
    }

    /// Watches the files of a service from now on, also those that later versions of it bring.
    func watch(_ service: ServiceController) {
        guard polls != nil else { return }
        services.append(service)
        addFolders(of: service)
        service.checkFiles()
    }

    func forget(_ service: ServiceController) { services.removeAll { $0 === service } }

    // MARK: - Events

    /// Something in a folder has changed.
    func changed(_ watch: CInt, mask: UInt32) {
        if mask & UInt32(IN_Q_OVERFLOW) != 0 {
            dirty.formUnion(folders.values)
        } else if let folder = folders[watch] {
            dirty.insert(folder)
            // It is gone: the next look adds what stands in its place.
            if mask & UInt32(IN_IGNORED) != 0 { folders[watch] = nil }
        }
        let now = NIODeadline.now()
        let first = firstChange ?? now
        firstChange = first
        look?.cancel()
        let box = NIOLoopBound(self, eventLoop: loop)
        look = loop.scheduleTask(deadline: min(now + Self.quiet, first + Self.longest)) { box.value.lookAtDirty() }
    }

    private func lookAtDirty() {
        let folders = dirty
        dirty = []
        firstChange = nil
        look = nil
        for service in services where service.files.folders.contains(where: folders.contains) { service.checkFiles() }
        for service in services { addFolders(of: service) }
    }

    private func poll() {
        for service in services {
            addFolders(of: service)
            service.checkFiles()
        }
    }

    /// Adding a folder that is watched already changes nothing; one that was made anew is a new one.
    private func addFolders(of service: ServiceController) {
        guard descriptor >= 0 else { return }
        service.updateWatchedFolders()
        let mask =
            UInt32(IN_CLOSE_WRITE) | UInt32(IN_MOVED_TO) | UInt32(IN_MOVED_FROM) | UInt32(IN_CREATE) | UInt32(IN_DELETE)
            | UInt32(IN_DELETE_SELF) | UInt32(IN_MOVE_SELF)
        for folder in service.files.folders {
            let watch = inotify_add_watch(descriptor, folder, mask)
            if watch >= 0 { folders[watch] = folder }
        }
    }
}

@available(*, unavailable)
extension FileWatcher: Sendable {}

/// Takes inotify's records apart.
private final class INotifyHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let watcher: FileWatcher
    private var rest = ByteBuffer()

    init(watcher: FileWatcher) { self.watcher = watcher }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        rest.writeBuffer(&bytes)
        // wd, mask, cookie, length of the name; then the name (inotify(7)).
        while let header = rest.getBytes(at: rest.readerIndex, length: 16) {
            let (watch, mask, length) = header.withUnsafeBytes {
                (
                    $0.load(as: CInt.self), $0.load(fromByteOffset: 4, as: UInt32.self),
                    $0.load(fromByteOffset: 12, as: UInt32.self)
                )
            }
            guard rest.readableBytes >= 16 + Int(length) else { break }
            rest.moveReaderIndex(forwardBy: 16 + Int(length))
            watcher.changed(watch, mask: mask)
        }
        rest.discardReadBytes()
    }
}

@available(*, unavailable)
extension INotifyHandler: Sendable {}
