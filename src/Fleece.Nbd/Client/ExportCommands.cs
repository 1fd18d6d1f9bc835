// SPDX-License-Identifier: MIT
using System.Runtime.ExceptionServices;
using Fleece.Block;
using Fleece.Nbd.Client.Extents;
using Fleece.Nbd.Client.Negotiation;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Client;

/// <summary>The commands of the protocol, each in as many requests as the server's limits ask for.</summary>
/// <remarks>Threading. Safe from any thread. Ranges have been checked, and are not empty.</remarks>
internal sealed class ExportCommands(AgreedExport export, ConnectionSet connections, ExtentMemory extents)
{
    // Enough to keep a server busy that takes only short requests.
    private const int PiecesAtOnce = 8;

    private const int ZeroesBytes = 1024 * 1024;

    private static readonly Lazy<byte[]> Zeroes = new(() => new byte[ZeroesBytes]);

    private readonly RequestPool _requests = new();

    private delegate ValueTask StartPiece(long startBytes, long lengthBytes);

    public ValueTask ReadAsync(long offsetBytes, Memory<byte> buffer, CancellationToken cancellationToken) =>
        buffer.Length <= export.MaximumPayloadBytes
            ? StartReadAsync(offsetBytes, buffer, cancellationToken)
            : ReadInPiecesAsync(offsetBytes, buffer, cancellationToken);

    public ValueTask WriteAsync(long offsetBytes, ReadOnlyMemory<byte> data, CommandFlags flags, CancellationToken cancellationToken) =>
        data.Length <= export.MaximumPayloadBytes
            ? StartWriteAsync(offsetBytes, data, flags, cancellationToken)
            : WriteInPiecesAsync(offsetBytes, data, flags, cancellationToken);

    /// <summary>Zeroes a range; writes zeros where the server has no command for it.</summary>
    public ValueTask WriteZeroesAsync(long offsetBytes, long lengthBytes, CommandFlags flags, CancellationToken cancellationToken) =>
        export.Offers(TransmissionFlags.SendWriteZeroes)
            ? ChangeRangeAsync(NbdCommand.WriteZeroes, offsetBytes, lengthBytes, flags, cancellationToken)
            : WriteZeroDataAsync(offsetBytes, lengthBytes, flags, cancellationToken);

    /// <summary>Discards a range; does nothing where the server has no command for it.</summary>
    public ValueTask TrimAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken) =>
        export.Offers(TransmissionFlags.SendTrim)
            ? ChangeRangeAsync(NbdCommand.Trim, offsetBytes, lengthBytes, CommandFlags.None, cancellationToken)
            : default;

    /// <summary>Flushes.</summary>
    /// <param name="connection">The connection that must do it if it still lives; null for any.</param>
    /// <param name="cancellationToken">Gives up.</param>
    public ValueTask FlushAsync(NbdConnection? connection, CancellationToken cancellationToken)
    {
        NbdRequest request = _requests.Rent();
        request.Describe(NbdCommand.Flush, CommandFlags.None, 0, 0, forgets: null);
        request.Preferred = connection;
        return request.StartAsync(connections, cancellationToken);
    }

    /// <summary>Asks for extents.</summary>
    /// <param name="reply">Takes them; its range is within <see cref="AgreedExport.MaximumRangeBytes"/>.</param>
    /// <param name="cancellationToken">Gives up.</param>
    public ValueTask QueryAsync(StatusReply reply, CancellationToken cancellationToken)
    {
        NbdRequest request = _requests.Rent();
        request.Describe(NbdCommand.BlockStatus, CommandFlags.None, reply.Asked.OffsetBytes, reply.Asked.LengthBytes, forgets: null);
        request.Status = reply;
        return request.StartAsync(connections, cancellationToken);
    }

    private ValueTask StartReadAsync(long offsetBytes, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        NbdRequest request = _requests.Rent();
        request.Describe(NbdCommand.Read, CommandFlags.None, offsetBytes, buffer.Length, forgets: null);
        request.Buffer = buffer;
        return request.StartAsync(connections, cancellationToken);
    }

    private ValueTask StartWriteAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, CommandFlags flags, CancellationToken cancellationToken)
    {
        extents.Forget();
        NbdRequest request = _requests.Rent();
        request.Describe(NbdCommand.Write, flags, offsetBytes, data.Length, extents);
        request.Data = data;
        return request.StartAsync(connections, cancellationToken);
    }

    private ValueTask StartChangeAsync(
        NbdCommand command, long offsetBytes, long lengthBytes, CommandFlags flags, CancellationToken cancellationToken)
    {
        extents.Forget();
        NbdRequest request = _requests.Rent();
        request.Describe(command, flags, offsetBytes, lengthBytes, extents);
        return request.StartAsync(connections, cancellationToken);
    }

    // The ways in pieces are apart from the short ones, which would pay for the delegates too.
    private ValueTask ReadInPiecesAsync(long offsetBytes, Memory<byte> buffer, CancellationToken cancellationToken) =>
        InPiecesAsync(
            buffer.Length,
            export.MaximumPayloadBytes,
            (startBytes, lengthBytes) => StartReadAsync(
                offsetBytes + startBytes, buffer.Slice((int)startBytes, (int)lengthBytes), cancellationToken));

    private ValueTask WriteInPiecesAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, CommandFlags flags, CancellationToken cancellationToken) =>
        InPiecesAsync(
            data.Length,
            export.MaximumPayloadBytes,
            (startBytes, lengthBytes) => StartWriteAsync(
                offsetBytes + startBytes, data.Slice((int)startBytes, (int)lengthBytes), flags, cancellationToken));

    private ValueTask WriteZeroDataAsync(
        long offsetBytes, long lengthBytes, CommandFlags flags, CancellationToken cancellationToken) =>
        InPiecesAsync(
            lengthBytes,
            Math.Min(export.MaximumPayloadBytes, ZeroesBytes),
            (startBytes, pieceBytes) => StartWriteAsync(
                offsetBytes + startBytes, Zeroes.Value.AsMemory(0, (int)pieceBytes), flags, cancellationToken));

    private ValueTask ChangeRangeAsync(
        NbdCommand command, long offsetBytes, long lengthBytes, CommandFlags flags, CancellationToken cancellationToken) =>
        lengthBytes <= export.MaximumRangeBytes
            ? StartChangeAsync(command, offsetBytes, lengthBytes, flags, cancellationToken)
            : ChangeInPiecesAsync(command, offsetBytes, lengthBytes, flags, cancellationToken);

    private ValueTask ChangeInPiecesAsync(
        NbdCommand command, long offsetBytes, long lengthBytes, CommandFlags flags, CancellationToken cancellationToken) =>
        InPiecesAsync(
            lengthBytes,
            export.MaximumRangeBytes,
            (startBytes, pieceBytes) => StartChangeAsync(command, offsetBytes + startBytes, pieceBytes, flags, cancellationToken));

    /// <summary>Runs a command in pieces, several at once, and ends when all that were started have ended.</summary>
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
