// SPDX-License-Identifier: MIT
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Client;

/// <content>Sending: headers and short payloads go out together, as many as have gathered.</content>
internal sealed partial class NbdConnection
{
    private const int SendBufferBytes = 128 * 1024;

    // Up to here it costs less to copy a payload than to send it by itself.
    private const int CopiedPayloadBytes = 64 * 1024;

    // Of a longer payload, what goes with the header.
    private const int LeadingBytes = 4 * 1024;

    private readonly Queue<NbdRequest> _toSend = new();
    private readonly byte[] _sendBuffer = GC.AllocateUninitializedArray<byte>(SendBufferBytes);
    private TaskCompletionSource? _sendingEnded;
    private bool _isSending;

    // Never throws; a failure closes the connection.
    private async Task SendQueuedAsync()
    {
        NbdRequest? large = null;
        try
        {
            while (FillSendBuffer(out int filledBytes, out large, out ReadOnlyMemory<byte> rest))
            {
                await link.Stream.WriteAsync(_sendBuffer.AsMemory(0, filledBytes)).ConfigureAwait(false);
                if (large is not null)
                {
                    await link.Stream.WriteAsync(rest).ConfigureAwait(false);
                    EndSending(large);
                    large = null;
                }
            }
        }
        catch (Exception cause)
        {
            Close(ServerErrors.ConnectionLost(uri, cause.Message, cause));
            if (large is not null)
            {
                EndSending(large);
            }

            StopSending();
        }
    }

    /// <summary>Takes what fits from the queue; false, and sending has ended, when there is nothing.</summary>
    /// <param name="filledBytes">Bytes of the buffer to send.</param>
    /// <param name="large">The last request of them, when more of its payload must follow.</param>
    /// <param name="rest">The payload that must follow.</param>
    private bool FillSendBuffer(out int filledBytes, out NbdRequest? large, out ReadOnlyMemory<byte> rest)
    {
        filledBytes = 0;
        large = null;
        rest = default;
        int headerBytes = RequestHeader.SizeBytes(Export.IsExtended);
        while (true)
        {
            NbdRequest? cancelled = null;
            lock (_gate)
            {
                while (_failure is null && large is null && cancelled is null && _toSend.TryPeek(out NbdRequest? request))
                {
                    int copiedBytes = request.Data.Length <= CopiedPayloadBytes ? request.Data.Length : LeadingBytes;
                    if (headerBytes + copiedBytes > SendBufferBytes - filledBytes)
                    {
                        return true;
                    }

                    _toSend.Dequeue();
                    if (request.IsCancelRequested)
                    {
                        Remove(request);
                        cancelled = request;
                        continue;
                    }

                    WriteHeader(request, _sendBuffer.AsSpan(filledBytes));
                    request.Data.Span[..copiedBytes].CopyTo(_sendBuffer.AsSpan(filledBytes + headerBytes));
                    filledBytes += headerBytes + copiedBytes;
                    request.IsSent = true;
                    if (copiedBytes != request.Data.Length)
                    {
                        request.IsBeingSent = true;
                        large = request;
                        rest = request.Data[copiedBytes..];
                    }
                }

                if (cancelled is null)
                {
                    if (filledBytes == 0)
                    {
                        EndSendingTurn();
                    }

                    return filledBytes != 0;
                }
            }

            cancelled.Complete(null);
        }
    }

    private void WriteHeader(NbdRequest request, Span<byte> destination)
    {
        CommandFlags flags = request.Flags;
        if (Export.IsExtended && request.Command == NbdCommand.Write)
        {
            flags |= CommandFlags.PayloadLength;
        }

        new RequestHeader(flags, request.Command, request.Cookie, (ulong)request.OffsetBytes, (ulong)request.LengthBytes)
            .Write(destination, Export.IsExtended);
    }

    private void EndSending(NbdRequest request)
    {
        lock (_gate)
        {
            request.IsBeingSent = false;
            if (!request.IsAnswered || _failure is not null)
            {
                return;
            }

            Remove(request);
        }

        Complete(request);
    }

    private void StopSending()
    {
        lock (_gate)
        {
            EndSendingTurn();
        }
    }

    // Under the lock.
    private void EndSendingTurn()
    {
        _isSending = false;
        _sendingEnded?.TrySetResult();
        _sendingEnded = null;
    }

    private Task SendingEndedAsync()
    {
        lock (_gate)
        {
            if (!_isSending)
            {
                return Task.CompletedTask;
            }

            _sendingEnded ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            return _sendingEnded.Task;
        }
    }

    private async ValueTask<bool> TrySendDisconnectAsync(CancellationToken cancellationToken)
    {
        try
        {
            if (!await TryBeginSendingAsync(cancellationToken).ConfigureAwait(false))
            {
                return false;
            }
        }
        catch (OperationCanceledException)
        {
            return false;
        }

        try
        {
            Memory<byte> message = _sendBuffer.AsMemory(0, RequestHeader.SizeBytes(Export.IsExtended));
            new RequestHeader(CommandFlags.None, NbdCommand.Disconnect, 0, 0, 0).Write(message.Span, Export.IsExtended);
            await link.Stream.WriteAsync(message, cancellationToken).ConfigureAwait(false);
            return true;
        }
        catch (Exception cause) when (cause is IOException or ObjectDisposedException or OperationCanceledException)
        {
            return false;
        }
        finally
        {
            StopSending();
        }
    }

    /// <summary>Waits until nobody sends, and then has the turn. Whoever sent last may still be about to say that it has ended, although
    /// the replies are there.</summary>
    /// <returns>False when the connection has ended.</returns>
    private async ValueTask<bool> TryBeginSendingAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            Task sendingEnded;
            lock (_gate)
            {
                if (_failure is not null)
                {
                    return false;
                }

                if (!_isSending)
                {
                    _isSending = true;
                    return true;
                }

                sendingEnded = SendingEndedAsync();
            }

            await sendingEnded.WaitAsync(cancellationToken).ConfigureAwait(false);
        }
    }
}
