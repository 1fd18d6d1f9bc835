// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Nbd.Client.Extents;
using Fleece.Nbd.Client.Negotiation;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Client;

/// <summary>An export of an NBD server as a block node.</summary>
/// <remarks>
/// <para>Geometry. Requests are multiples of the smallest block that the server announces, any byte range where it announces none.
/// The node is read-only when the server says so or <see cref="NbdNodeOptions.IsReadOnly"/> asks for it.</para>
/// <para>What a server lacks. Discards do nothing without TRIM; zeroing writes zeros without WRITE_ZEROES; a durable write is followed
/// by a flush without FUA; flushing succeeds without FLUSH, where the server has no cache to flush; all ranges are data without
/// <c>base:allocation</c>. What discarded bytes read as is the server's choice.</para>
/// <para>Lost connections. Requests wait while the node connects again, for at most
/// <see cref="NbdNodeOptions.ReconnectTimeout"/>, and are then sent again: none of them was acknowledged, and all do the same when done
/// twice. A request that a server carries out after its connection was given up, which no client can prevent, may overtake a later
/// write to the same place. If the export has another size or another identity or offers less afterwards, or the server breaks the
/// protocol or fails TLS, the node fails for good.</para>
/// <para>Durability. A server that went down may have lost writes that it had acknowledged and not flushed. When a connection is lost
/// with such writes, the flushes that are on their way fail with <see cref="BlockErrors.IoFailed"/> and a message that says so; if
/// there are none, the next flush or the next write with <see cref="WriteFlags.ForceUnitAccess"/> does, once. A write counts as flushed
/// when it was acknowledged before a flush began that succeeded.</para>
/// <para>Status. The extents of the last reply are kept for up to one second, so that a walk asks seldom; every change
/// through this node drops them.</para>
/// <para>Cancelling. A cancelled request ends when its reply comes, because its buffer belongs to the connection until then. After two
/// seconds without one the connection is given up, as if it were lost.</para>
/// <para>Errors. <see cref="BlockErrors.Denied"/>: a snapshot's server refuses the range.
/// <see cref="BlockErrors.ReadOnly"/>, <see cref="BlockErrors.NoSpace"/>, <see cref="BlockErrors.Unsupported"/> and
/// <see cref="BlockErrors.IoFailed"/>: the server refuses or fails a request, with its text.
/// <see cref="BlockErrors.Closed"/>: the node was disposed, or the server is going down.
/// <see cref="NbdErrors.ConnectionLost"/>, <see cref="NbdErrors.ProtocolViolated"/>,
/// <see cref="NbdErrors.TlsFailed"/>: as above.</para>
/// <para>Threading. All members may be called from any thread; nothing blocks one.</para>
/// </remarks>
internal sealed class NbdNode : IBlockNode
{
    private readonly NbdUri _uri;
    private readonly string _name;
    private readonly AgreedExport _export;
    private readonly ConnectionSet _connections;
    private readonly ExportCommands _commands;
    private readonly ExportStatus _status;

    private NbdNode(NbdUri uri, NbdNodeOptions options, AgreedExport export, ConnectionSet connections)
    {
        _uri = uri;
        _name = uri.ToString();
        _export = export;
        _connections = connections;
        ExtentMemory extents = new(options.Time);
        _commands = new ExportCommands(export, connections, extents);
        _status = new ExportStatus(export, _commands, extents);
        Geometry = new BlockGeometry(export.LengthBytes, export.AlignmentBytes, options.IsReadOnly || export.IsReadOnly);
    }

    /// <inheritdoc/>
    public BlockGeometry Geometry { get; }

    /// <inheritdoc/>
    public bool CanReadAhead => false;

    /// <summary>The address of the export.</summary>
    public NbdUri Uri => _uri;

    /// <summary>Why it fails all requests from now on; null while it serves. Without reconnecting that is the loss of a connection, which
    /// shows while it is idle as well; else a fault that no further attempt would mend, or that it was closed.</summary>
    public BlockException? Failure => _connections.Failure;

    /// <summary>True when the server tells which ranges may be read (<c>fleece:access</c>).</summary>
    public bool HasAccessContext => _export.AccessContext.HasValue;

    /// <summary>True when the server has the bitmap of <see cref="NbdNodeOptions.DirtyBitmap"/>.</summary>
    public bool HasDirtyContext => _export.DirtyContext.HasValue;

    /// <summary>What the server tells of the export, by key (docs/nbd.md, "Identity"); empty when it tells nothing. Each later connection
    /// is told the same, or is not used.</summary>
    public IReadOnlyDictionary<string, string> Identity => _export.Identity;

    /// <summary>Disposed when the node is closed, after its last request: a claim of its owner on the export; null for none.</summary>
    internal IDisposable? Lease { get; set; }

    /// <summary>What client and server have agreed on.</summary>
    internal AgreedExport Agreed => _export;

    /// <summary>Connects to an export.</summary>
    /// <param name="uri">Where it is.</param>
    /// <param name="options">How to connect.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <returns>A node that the caller disposes.</returns>
    /// <exception cref="BlockException">
    /// <see cref="NbdErrors.ConnectFailed"/>: no server answers, or not in time. <see cref="NbdErrors.ExportUnknown"/>: no export of
    /// that name. <see cref="NbdErrors.TlsFailed"/>: TLS is refused, demanded or fails its checks.
    /// <see cref="BlockErrors.PermissionDenied"/>: the server refuses this client.
    /// <see cref="NbdErrors.ProtocolViolated"/>: what answers is no NBD server, or a wrong one.
    /// <see cref="BlockErrors.Unsupported"/>: the export's size is no multiple of its blocks.
    /// <see cref="BlockErrors.InvalidArgument"/>: an option is out of its bounds.
    /// </exception>
    public static async ValueTask<NbdNode> ConnectAsync(NbdUri uri, NbdNodeOptions options, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(uri);
        ArgumentNullException.ThrowIfNull(options);
        options.Check();
        ConnectionSet connections = new(uri, options);
        AgreedExport export = await connections.OpenAsync(cancellationToken).ConfigureAwait(false);
        return new NbdNode(uri, options, export, connections);
    }

    /// <inheritdoc/>
    public ValueTask ReadAsync(long offsetBytes, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        Check(offsetBytes, buffer.Length, "read", cancellationToken);
        return buffer.IsEmpty ? default : _commands.ReadAsync(offsetBytes, buffer, cancellationToken);
    }

    /// <inheritdoc/>
    public void ReadAhead(long offsetBytes, long lengthBytes)
    {
    }

    /// <inheritdoc/>
    public ValueTask WriteAsync(long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken)
    {
        CheckChange(offsetBytes, data.Length, "write", cancellationToken);
        return
            data.IsEmpty ? default :
            (flags & WriteFlags.ForceUnitAccess) != 0 ? WriteDurablyAsync(offsetBytes, data, cancellationToken) :
            _commands.WriteAsync(offsetBytes, data, CommandFlags.None, cancellationToken);
    }

    /// <inheritdoc/>
    public ValueTask WriteZeroesAsync(long offsetBytes, long lengthBytes, WriteFlags flags, CancellationToken cancellationToken)
    {
        CheckChange(offsetBytes, lengthBytes, "write zeros to", cancellationToken);
        CommandFlags fast = (flags & WriteFlags.OnlyIfFast) != 0 ? FastFlags(offsetBytes) : CommandFlags.None;
        return
            lengthBytes == 0 ? default :
            (flags & WriteFlags.ForceUnitAccess) != 0 ? ZeroDurablyAsync(offsetBytes, lengthBytes, fast, cancellationToken) :
            _commands.WriteZeroesAsync(offsetBytes, lengthBytes, fast, cancellationToken);
    }

    /// <inheritdoc/>
    public ValueTask DiscardAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        CheckChange(offsetBytes, lengthBytes, "discard", cancellationToken);
        return lengthBytes == 0 ? default : _commands.TrimAsync(offsetBytes, lengthBytes, cancellationToken);
    }

    /// <inheritdoc/>
    public async ValueTask FlushAsync(CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        long lossesBefore = _connections.Losses.Count;
        NbdConnection[] unflushed = _connections.FindUnflushed();
        if (!_export.Offers(TransmissionFlags.SendFlush))
        {
            foreach (NbdConnection connection in unflushed)
            {
                connection.Requests.CoverWrites();
            }
        }
        else if (unflushed.Length <= 1)
        {
            await _commands.FlushAsync(unflushed.Length == 0 ? null : unflushed[0], cancellationToken).ConfigureAwait(false);
        }
        else
        {
            await Task.WhenAll(unflushed.Select(connection => _commands.FlushAsync(connection, cancellationToken).AsTask()))
                .ConfigureAwait(false);
        }

        _connections.Losses.ThrowIfLost(lossesBefore, "flush");
    }

    /// <inheritdoc/>
    public ValueTask<BlockStatusRun> GetStatusAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        BlockRange range = Check(offsetBytes, lengthBytes, "query", cancellationToken);
        return range.IsEmpty ? default : _status.GetStatusAsync(range, cancellationToken);
    }

    /// <summary>As <see cref="GetStatusAsync"/>, by a query of exactly this range, cut at what a request can ask: no answer is recalled,
    /// and this one is not remembered.</summary>
    public ValueTask<BlockStatusRun> AskStatusAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        BlockRange range = Check(offsetBytes, lengthBytes, "query", cancellationToken);
        return range.IsEmpty ? default : _status.AskStatusAsync(range, cancellationToken);
    }

    /// <summary>Whether the bitmap of <see cref="NbdNodeOptions.DirtyBitmap"/> is marked at an offset.</summary>
    /// <param name="offsetBytes">Start of the range.</param>
    /// <param name="lengthBytes">Length of the range, at least 1.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <returns>The answer, and for how many bytes it holds: 1 to the whole range. Without <see cref="HasDirtyContext"/> all is marked.
    /// </returns>
    /// <exception cref="BlockException">As for <see cref="GetStatusAsync"/>.</exception>
    public ValueTask<(bool IsDirty, long LengthBytes)> GetDirtyAsync(
        long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        BlockRange range = Check(offsetBytes, lengthBytes, "query", cancellationToken);
        return range.IsEmpty ? default : _status.GetDirtyAsync(range, cancellationToken);
    }

    /// <summary>Whether the bytes at an offset may be read, or why not, where the server serves a snapshot of which parts are denied or
    /// consumed.</summary>
    /// <param name="offsetBytes">Start of the range.</param>
    /// <param name="lengthBytes">Length of the range, at least 1.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <returns>The answer, none of the flags for what can be read, and for how many bytes it holds: 1 to the whole range. Without
    /// <see cref="HasAccessContext"/> all is readable.</returns>
    /// <exception cref="BlockException">As for <see cref="GetStatusAsync"/>.</exception>
    public ValueTask<(AccessFlags Refusal, long LengthBytes)> GetAccessAsync(
        long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        BlockRange range = Check(offsetBytes, lengthBytes, "query", cancellationToken);
        return range.IsEmpty ? default : _status.GetAccessAsync(range, cancellationToken);
    }

    /// <summary>Tells the server to end the session and closes. Idempotent; takes two seconds at most, whatever the server does.</summary>
    public async ValueTask DisposeAsync()
    {
        try
        {
            await _connections.DisposeAsync().ConfigureAwait(false);
        }
        finally
        {
            Lease?.Dispose();
        }
    }

    private async ValueTask WriteDurablyAsync(long offsetBytes, ReadOnlyMemory<byte> data, CancellationToken cancellationToken)
    {
        long lossesBefore = _connections.Losses.Count;
        await _commands.WriteAsync(offsetBytes, data, DurableFlags, cancellationToken).ConfigureAwait(false);
        await EndDurablyAsync(lossesBefore, "write", cancellationToken).ConfigureAwait(false);
    }

    private async ValueTask ZeroDurablyAsync(
        long offsetBytes, long lengthBytes, CommandFlags fast, CancellationToken cancellationToken)
    {
        long lossesBefore = _connections.Losses.Count;
        await _commands.WriteZeroesAsync(offsetBytes, lengthBytes, DurableFlags | fast, cancellationToken).ConfigureAwait(false);
        await EndDurablyAsync(lossesBefore, "write zeros to", cancellationToken).ConfigureAwait(false);
    }

    private CommandFlags FastFlags(long offsetBytes) => _export.Offers(TransmissionFlags.SendFastZero)
        ? CommandFlags.FastZero
        : throw new BlockException(
            BlockErrors.Unsupported,
            $"The server at '{_name}' does not tell whether zeroing is fast there.",
            _name,
            offsetBytes,
            "write zeros to");

    private CommandFlags DurableFlags => _export.Offers(TransmissionFlags.SendFua) ? CommandFlags.Fua : CommandFlags.None;

    private async ValueTask EndDurablyAsync(long lossesBefore, string operation, CancellationToken cancellationToken)
    {
        if (DurableFlags == CommandFlags.None)
        {
            await FlushAsync(cancellationToken).ConfigureAwait(false);
        }

        _connections.Losses.ThrowIfLost(lossesBefore, operation);
    }

    private BlockRange Check(long offsetBytes, long lengthBytes, string operation, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        BlockRange range = new(offsetBytes, lengthBytes);
        range.CheckWithin(Geometry.LengthBytes, _name, operation);
        range.CheckAlignment(Geometry.RequestAlignmentBytes, _name, operation);
        return range;
    }

    private void CheckChange(long offsetBytes, long lengthBytes, string operation, CancellationToken cancellationToken)
    {
        Check(offsetBytes, lengthBytes, operation, cancellationToken);
        if (Geometry.IsReadOnly)
        {
            throw new BlockException(
                BlockErrors.ReadOnly,
                $"Cannot {operation} '{_name}': {(_export.IsReadOnly ? "the server says that it is" : "it was opened")} read-only.",
                _name,
                offsetBytes,
                operation);
        }
    }
}
