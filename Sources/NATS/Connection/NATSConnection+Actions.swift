// Owns: the way from what the machine says to what is done. Each action is carried out where its subject lives; nothing here
// decides what happens next. Loop-bound.

import Logging
import LoopTools
import NATSProtocol
import NIOCore

extension NATSConnection {
    /// Does what the machine says.
    ///
    /// Who is told something may close the connection, or ask for a new one, before this returns. What was to be done before
    /// that is void then.
    func carryOut(_ actions: [ConnectionAction]) {
        let epoch = machine.epoch
        for action in actions {
            guard epoch == machine.epoch else { return }
            carryOut(action)
        }
    }

    private func carryOut(_ action: ConnectionAction) {
        var random = SystemRandomNumberGenerator()
        switch action {
        case .open(let address, let epoch): open(address, epoch)
        case .abandonAttempt:
            flushing.isInBurst = false
            detachAttempt()
        case .dismissServer:
            detachAttempt()
            endBurst()
        case .startRetryTimer(let epoch, let pause): timer.schedule(.retry(epoch), at: eventLoop.now + pause)
        case .announceRetry(let attempt, let error, let pause): announceRetry(attempt, error, pause)
        case .countRefusedCredentials: statistics.refusedCredentials += 1

        case .adoptLink(let epoch):
            adoptLink()
            carryOut(machine.linkAdopted(epoch))
        case .restore: restore()
        case .startPingTimer(let epoch): timer.schedule(.ping(epoch), at: eventLoop.now + configuration.pingInterval)
        case .sendPing:
            unwritten.forgetWritten()
            sendPing(.none)
        case .announceConnection(let isFirst): announceConnection(isFirst: isFirst)
        case .learnCluster:
            if let info = link?.info { carryOut(machine.clusterChanged(info, using: &random)) }
        case .countIgnoredServers(let count): statistics.ignoredServers += UInt64(count)
        case .announceServers(let names): emit(.discoveredServers(names))
        case .announceIgnoredServers(let count): emit(.serversIgnored(count: count))

        case .dropLink(let error, let keepsPublishes): dropLink(error, keepsPublishes: keepsPublishes)
        case .failWaiters(let error):
            failWaiters(pongs: NATSError(.disconnected, error.message), requests: .disconnected)
            carryOut(machine.waitersFailed(at: eventLoop.now, using: &random))
        case .announceLoss(let error):
            emit(.disconnected(error))
            carryOut(machine.lossAnnounced(at: eventLoop.now, using: &random))

        case .noteMoveFailure(let error):
            logger.debug("cannot move to another server", metadata: ["error": "\(error.message)"])
        case .keepOldLink: keepOldLink()
        case .confirmMove(let epoch): sendPing(.moveSubscribed(epoch))
        case .unsubscribePlain: unsubscribePlain()
        case .startSpreadTimer(let epoch): timer.schedule(.spread(epoch), at: eventLoop.now + Self.spreadingTime)
        case .unsubscribeRest(let epoch): unsubscribeRest(epoch)
        case .releaseBarriers: releaseBarriers()
        case .startLeaveTimer(let epoch): timer.schedule(.leave(epoch), at: eventLoop.now + Self.lateReplyTime)
        case .closeOldLink:
            closeOldLink()
            scheduleFlush()
        case .endBurst: endBurst()

        case .startDrain: startDrain()
        case .endDrainedSubscriptions: endDrainedSubscriptions()
        case .announcePublishingEnds: emit(.publishingEnds)
        case .stopPublishing: stopPublishing()
        case .finishDrain: finishDrain()
        case .close(let error): close(error: error)
        case .shutDown(let failure): shutDown(failure)
        case .announceEnd(let error): announceEnd(error)
        }
    }

    func emit(_ event: NATSEvent) {
        delegate?.connection(self, event: event)
    }

    // MARK: - The end

    private func shutDown(_ failure: NATSError) {
        publishRefusal = .closed
        timer.cancelAll()
        let link = link
        let handshaking = handshaking
        self.link = nil
        self.handshaking = nil
        closeOldLink()
        if let link {
            giveUp(takeUnwritten(&unwritten, of: link), failure)
        }
        link?.detach()
        handshaking?.detach()
        flushing.isInBurst = false
        gate.reset()
        giveUpUnsent(failure)
        failWaiters(pongs: failure, requests: .closed)
        for subscription in subscriptions.sorted() {
            end(subscription, .closed)
        }
    }

    private func announceEnd(_ error: NATSError?) {
        let connecting = connectPromise
        let draining = drain?.promise
        connectPromise = nil
        drain = nil
        emit(.closed(error))
        delegate = nil
        flushing.task = nil
        // Last: whoever waits for the end lets go of the delegate with it, from another thread.
        connecting?.fail(error ?? .closed)
        draining?.fail(error ?? .closed)
    }

    /// Fails everything that waits for the server. The machine must know before: those who wait may call back.
    func failWaiters(pongs error: NATSError, requests failure: NATSRequestError) {
        fail(pongs.removeAll(), error)
        for id in requests.pending() {
            failRequest(id, failure)
        }
    }

    func fail(_ waiters: [PongWaiter], _ error: NATSError) {
        for waiter in waiters {
            switch waiter {
            case .none, .connectionDrain, .moveSubscribed, .moveUnsubscribed: break
            case .flush(let waiter):
                timer.cancel(waiter.deadline)
                waiter.promise.fail(error)
            case .subscriptionDrained(let subscription, let promise):
                end(subscription, error.code == .closed ? .closed : .disconnected)
                promise.fail(error)
            }
        }
    }
}
