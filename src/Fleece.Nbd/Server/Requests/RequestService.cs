// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Nbd.Server.Buffers;
using Fleece.Nbd.Server.Exports;
using Fleece.Nbd.Server.Negotiation;
using Fleece.Nbd.Server.Replies;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Server.Requests;

/// <summary>Does what a request asks of its export. The request has passed <see cref="RequestRules"/>.</summary>
/// <remarks>
/// A request of many pieces may be as long as the disk; it ends early when its connection was cut off.
/// Threading. All members are safe from any thread. Errors are those of the export's device.
/// </remarks>
internal sealed class RequestService(
    NbdExport export,
    RequestRules rules,
    IReadOnlyList<ChosenContext> contexts,
    bool isExtended,
    MemoryBudget budget,
    CancellationToken connectionEnded)
{
    // Pieces in which zeros are written and ranges are read ahead.
    private const int PieceBytes = 256 * 1024;

    private static readonly byte[] Zeroes = new byte[PieceBytes];

    private readonly BlockDevice _device = export.Device;

    public ValueTask ReadAsync(in RequestHeader request, Memory<byte> buffer) =>
        _device.ReadAsync((long)request.Offset, buffer);

    public bool CanReadAhead => _device.CanReadAhead;

    public void ReadAhead(in RequestHeader request) => _device.ReadAhead((long)request.Offset, (long)request.Length);

    public ValueTask WriteAsync(in RequestHeader request, ReadOnlyMemory<byte> data) =>
        _device.WriteAsync((long)request.Offset, data, FlagsOf(request));

    /// <summary>Every other command.</summary>
    /// <returns>The extents of a block status; null for a plain success.</returns>
    public async ValueTask<StatusAnswer?> ServeAsync(RequestHeader request, ReadOnlyMemory<byte> payload)
    {
        long offsetBytes = (long)request.Offset;
        switch (request.Command)
        {
            case NbdCommand.Flush:
                export.CheckDurability?.Invoke();
                await _device.FlushAsync().ConfigureAwait(false);
                return null;
            case NbdCommand.Trim:
                bool isDurable = FlagsOf(request) != WriteFlags.None;
                await DiscardAsync(new BlockRange(offsetBytes, (long)request.Length)).ConfigureAwait(false);
                if (isDurable)
                {
                    await _device.FlushAsync().ConfigureAwait(false);
                }

                return null;
            case NbdCommand.WriteZeroes:
                await ZeroAsync(request).ConfigureAwait(false);
                return null;
            case NbdCommand.Cache:
                await ReadAheadAsync(new BlockRange(offsetBytes, (long)request.Length)).ConfigureAwait(false);
                return null;
            default:
                return await QueryAsync(request, payload).ConfigureAwait(false);
        }
    }

    private ValueTask DiscardAsync(BlockRange range) => export.Discard is { } discard
        ? discard(range, CancellationToken.None)
        : _device.DiscardAsync(range.OffsetBytes, range.LengthBytes);

    private async ValueTask ZeroAsync(RequestHeader request)
    {
        bool mustBeFast = (request.Flags & CommandFlags.FastZero) != 0;
        if ((request.Flags & CommandFlags.NoHole) == 0)
        {
            await _device.WriteZeroesAsync(
                (long)request.Offset,
                (long)request.Length,
                FlagsOf(request) | (mustBeFast ? WriteFlags.OnlyIfFast : WriteFlags.None)).ConfigureAwait(false);
            return;
        }

        if (mustBeFast)
        {
            throw new BlockException(
                BlockErrors.Unsupported, "Zeros without a hole are written one by one, which is no faster than a write.");
        }

        BlockRange range = new((long)request.Offset, (long)request.Length);
        for (long atBytes = range.OffsetBytes; atBytes < range.EndBytes; atBytes += PieceBytes)
        {
            connectionEnded.ThrowIfCancellationRequested();
            int pieceBytes = (int)Math.Min(PieceBytes, range.EndBytes - atBytes);
            await _device.WriteAsync(atBytes, Zeroes.AsMemory(0, pieceBytes), FlagsOf(request)).ConfigureAwait(false);
        }
    }

    // Reading brings the range into whatever cache the storage has; the bytes themselves go nowhere. It is a hint, so without memory
    // for it nothing is read.
    private async ValueTask ReadAheadAsync(BlockRange range)
    {
        SharedBuffer? scratch = SharedBuffer.TryRent(PieceBytes, budget);
        try
        {
            for (long atBytes = range.OffsetBytes; scratch is not null && atBytes < range.EndBytes; atBytes += PieceBytes)
            {
                connectionEnded.ThrowIfCancellationRequested();
                int pieceBytes = (int)Math.Min(PieceBytes, range.EndBytes - atBytes);
                await _device.ReadAsync(atBytes, scratch.Bytes[..pieceBytes]).ConfigureAwait(false);
            }
        }
        finally
        {
            scratch?.Release();
        }
    }

    private async ValueTask<StatusAnswer?> QueryAsync(RequestHeader request, ReadOnlyMemory<byte> payload)
    {
        ulong wanted = ulong.MaxValue;
        if ((request.Flags & CommandFlags.PayloadLength) != 0)
        {
            if (!StatusPayload.TryRead(payload.Span, contexts, out ulong lengthBytes, out wanted))
            {
                throw new BlockException(BlockErrors.InvalidArgument, "The payload names a context that was not chosen.");
            }

            request = request with { Length = lengthBytes };
            Refusal refusal = rules.CheckRange(request, NbdError.Invalid);
            if (refusal.Error != NbdError.None || lengthBytes == 0)
            {
                throw new BlockException(BlockErrors.InvalidRange, refusal.Message ?? "A block status needs at least one byte.");
            }
        }

        BlockRange range = new((long)request.Offset, (long)request.Length);
        bool isOne = (request.Flags & CommandFlags.RequestOne) != 0;
        List<(uint ContextId, List<StatusExtent> Extents)> answers = [];
        for (int i = 0; i < contexts.Count; i++)
        {
            if ((wanted >> i & 1) != 0)
            {
                List<StatusExtent> extents = [];
                await StatusQuery.CollectAsync(contexts[i].Context, range, isOne, isExtended, extents).ConfigureAwait(false);
                answers.Add((contexts[i].Id, extents));
            }
        }

        return answers.Count == 0 ? null : new StatusAnswer(answers);
    }

    private WriteFlags FlagsOf(in RequestHeader request)
    {
        if ((request.Flags & CommandFlags.Fua) == 0)
        {
            return WriteFlags.None;
        }

        export.CheckDurability?.Invoke();
        return WriteFlags.ForceUnitAccess;
    }
}
