// SPDX-License-Identifier: MIT
using System.Runtime.ExceptionServices;
using Fleece.Block;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Client;

/// <content>Requests longer than the server takes, and what stands in for those it does not take at all.</content>
public sealed partial class NbdNode
{
    // Enough to keep a server busy that takes only short requests.
    private const int PiecesAtOnce = 8;

    private const int ZeroesBytes = 1024 * 1024;

    private static readonly Lazy<byte[]> Zeroes = new(() => new byte[ZeroesBytes]);

    private delegate ValueTask StartPiece(long startBytes, long lengthBytes);

    private ValueTask ReadInPiecesAsync(long offsetBytes, Memory<byte> buffer, CancellationToken cancellationToken) =>
        InPiecesAsync(
            buffer.Length,
            _export.MaximumPayloadBytes,
            (startBytes, lengthBytes) => StartReadAsync(
                offsetBytes + startBytes, buffer.Slice((int)startBytes, (int)lengthBytes), cancellationToken));

    private ValueTask WriteDataAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, CommandFlags flags, CancellationToken cancellationToken) =>
        data.Length <= _export.MaximumPayloadBytes
            ? StartWriteAsync(offsetBytes, data, flags, cancellationToken)
            : WriteInPiecesAsync(offsetBytes, data, flags, cancellationToken);

    // Apart from the short way, which would pay for the delegate too.
    private ValueTask WriteInPiecesAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, CommandFlags flags, CancellationToken cancellationToken) =>
        InPiecesAsync(
            data.Length,
            _export.MaximumPayloadBytes,
            (startBytes, lengthBytes) => StartWriteAsync(
                offsetBytes + startBytes, data.Slice((int)startBytes, (int)lengthBytes), flags, cancellationToken));

    private ValueTask ZeroAsync(long offsetBytes, long lengthBytes, CommandFlags flags, CancellationToken cancellationToken) =>
        _export.Offers(TransmissionFlags.SendWriteZeroes)
            ? ChangeRangeAsync(NbdCommand.WriteZeroes, offsetBytes, lengthBytes, flags, cancellationToken)
            : WriteZeroDataAsync(offsetBytes, lengthBytes, flags, cancellationToken);

    private ValueTask WriteZeroDataAsync(
        long offsetBytes, long lengthBytes, CommandFlags flags, CancellationToken cancellationToken) =>
        InPiecesAsync(
            lengthBytes,
            Math.Min(_export.MaximumPayloadBytes, ZeroesBytes),
            (startBytes, pieceBytes) => StartWriteAsync(
                offsetBytes + startBytes, Zeroes.Value.AsMemory(0, (int)pieceBytes), flags, cancellationToken));

    private ValueTask ChangeRangeAsync(
        NbdCommand command, long offsetBytes, long lengthBytes, CommandFlags flags, CancellationToken cancellationToken) =>
        lengthBytes <= _export.MaximumRangeBytes
            ? StartChangeAsync(command, offsetBytes, lengthBytes, flags, cancellationToken)
            : ChangeInPiecesAsync(command, offsetBytes, lengthBytes, flags, cancellationToken);

    private ValueTask ChangeInPiecesAsync(
        NbdCommand command, long offsetBytes, long lengthBytes, CommandFlags flags, CancellationToken cancellationToken) =>
        InPiecesAsync(
            lengthBytes,
            _export.MaximumRangeBytes,
            (startBytes, pieceBytes) => StartChangeAsync(command, offsetBytes + startBytes, pieceBytes, flags, cancellationToken));

    private async ValueTask WriteDurablyAsync(long offsetBytes, ReadOnlyMemory<byte> data, CancellationToken cancellationToken)
    {
        long lossesBefore = _connections.Losses.Count;
        await WriteDataAsync(offsetBytes, data, DurableFlags, cancellationToken).ConfigureAwait(false);
        await EndDurablyAsync(lossesBefore, "write", cancellationToken).ConfigureAwait(false);
    }

    private async ValueTask ZeroDurablyAsync(
        long offsetBytes, long lengthBytes, CommandFlags fast, CancellationToken cancellationToken)
    {
        long lossesBefore = _connections.Losses.Count;
        await ZeroAsync(offsetBytes, lengthBytes, DurableFlags | fast, cancellationToken).ConfigureAwait(false);
        await EndDurablyAsync(lossesBefore, "write zeros to", cancellationToken).ConfigureAwait(false);
    }

    private CommandFlags FastFlags(long offsetBytes) => _export.Offers(TransmissionFlags.SendFastZero)
        ? CommandFlags.FastZero
        : throw new BlockException(
            BlockErrorKind.Unsupported,
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

    /// <summary>Runs a request in pieces, several at once, and ends when all that were started have ended.</summary>
    private static async ValueTask InPiecesAsync(long lengthBytes, long pieceBytes, StartPiece start)
    {
        Queue<Task> running = new(PiecesAtOnce);
        ExceptionDispatchInfo? failure = null;
        long startedBytes = 0;
        while (running.Count != 0 || (failure is null && startedBytes < lengthBytes))
        {
            if (failure is null && startedBytes < lengthBytes && running.Count < PiecesAtOnce)
            {
                long nextBytes = Math.Min(pieceBytes, lengthBytes - startedBytes);
                running.Enqueue(start(startedBytes, nextBytes).AsTask());
                startedBytes += nextBytes;
                continue;
            }

            try
            {
                await running.Dequeue().ConfigureAwait(false);
            }
            catch (Exception cause) when (cause is BlockException or OperationCanceledException)
            {
                failure ??= ExceptionDispatchInfo.Capture(cause);
            }
        }

        failure?.Throw();
    }
}
