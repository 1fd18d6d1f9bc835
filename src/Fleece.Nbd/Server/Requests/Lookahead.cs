// SPDX-License-Identifier: MIT
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Server.Requests;

/// <summary>Has the storage begin with the reads that wait behind the one that is served next.</summary>
/// <remarks>
/// So one thread keeps a disk as busy as its client asks for: it waits for the first read, and meanwhile the others arrive too. Other
/// threads would each have to be woken, which costs more than a short read.
/// Threading. The connection's own thread only.
/// </remarks>
internal sealed class Lookahead(RequestReader reader, RequestRules rules, RequestService service, bool isExtended)
{
    // What may be on its way into the cache before anybody takes it. It keeps a fast disk busy; more would only stand in the disk's
    // queue before what a guest asks for, because clients that read a disk from end to end ask for much more at once.
    private const long MaximumBytes = 4 * 1024 * 1024;

    private readonly int _headerBytes = RequestHeader.SizeBytes(isExtended);
    private long _aheadBytes;

    /// <summary>False when the storage can't begin a read without a thread that waits for it.</summary>
    public bool IsPossible { get; } = service.CanReadAhead;

    /// <summary>Looks at the requests that have come and starts the reads among them. The next request is among what has come.</summary>
    public void Look()
    {
        reader.ReceiveWaiting();
        while (_aheadBytes < MaximumBytes && reader.PeekUnseen(_headerBytes) is { IsEmpty: false } header &&
            RequestHeader.TryRead(header, isExtended, out RequestHeader request))
        {
            if (request.Command == NbdCommand.Read && rules.Check(request).Error == NbdError.None)
            {
                service.ReadAhead(request);
                _aheadBytes += (long)request.Length;
            }

            // A client may claim any length; the connection ends before it has sent so much.
            reader.SeeNext(_headerBytes, (long)Math.Min(request.PayloadBytes(isExtended), long.MaxValue / 2));
        }
    }

    /// <summary>Counts a read as served that was looked at.</summary>
    public void Leave(in RequestHeader request) => _aheadBytes -= (long)request.Length;
}
