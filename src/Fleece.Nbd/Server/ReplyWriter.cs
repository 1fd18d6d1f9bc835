// SPDX-License-Identifier: MIT
namespace Fleece.Nbd.Server;

/// <summary>The sending side of a connection: replies gather in one buffer and leave together.</summary>
/// <remarks>
/// <para>Replies of requests that the connection's own thread served are reserved, written and committed in the batch; it
/// leaves when the thread is about to wait for the client, or when it is full. Replies of requests that ended elsewhere are
/// posted, and a thread that starts with the first of them sends them, so that no thread of somebody else ever waits for a
/// client that does not read.</para>
/// <para>Threading. <see cref="Reserve"/>, <see cref="Commit"/>, <see cref="TakeBatch"/> and <see cref="Flush()"/> from
/// the connection's own thread; <see cref="Post"/> from any.</para>
/// </remarks>
internal sealed class ReplyWriter(Stream stream, MemoryBudget budget, CancellationTokenSource connectionEnded, string name) : IDisposable
{
    // A reader can take the first replies while the next are made.
    private const int FlushThresholdBytes = 256 * 1024;

    // Posted replies up to this size are copied together; a larger one is worth a system call.
    private const int SmallReplyBytes = 16 * 1024;

    private readonly Lock _sendLock = new();
    private readonly object _postLock = new();
    private readonly Queue<Posted> _posted = [];
    private SharedBuffer _batch = SharedBuffer.RentBase();
    private int _usedBytes;
    private Thread? _sender;
    private bool _isClosing;

    /// <summary>Room for a reply in the batch; empty when the connection ended.</summary>
    public Memory<byte> Reserve(int bytes)
    {
        if (_usedBytes + bytes > _batch.LengthBytes || _usedBytes >= FlushThresholdBytes)
        {
            Flush();
        }

        return bytes <= _batch.LengthBytes || TryGrow(bytes) ? _batch.Bytes.AsMemory(_usedBytes, bytes) : default;
    }

    /// <summary>Adds the reserved bytes to the batch.</summary>
    public void Commit(int bytes) => _usedBytes += bytes;

    /// <summary>
    /// Hands the batch's buffer to a request that goes on filling what it has reserved; what was committed before leaves at
    /// once. The reserved bytes then begin at the returned offset.
    /// </summary>
    public (SharedBuffer Buffer, int OffsetBytes) TakeBatch()
    {
        int offsetBytes = _usedBytes;
        Flush(_batch, offsetBytes);
        SharedBuffer taken = _batch;
        _batch = SharedBuffer.Rent(SharedBuffer.BaseBytes, budget, connectionEnded.Token) ?? SharedBuffer.RentBase();
        _usedBytes = 0;
        return (taken, offsetBytes);
    }

    /// <summary>Sends the batch.</summary>
    public void Flush()
    {
        Flush(_batch, _usedBytes);
        _usedBytes = 0;
        if (_batch.LengthBytes > SharedBuffer.ComfortBytes)
        {
            _batch.Release();
            _batch = SharedBuffer.RentBase();
        }
    }

    /// <summary>Sends a reply soon, from another thread. The buffer's user passes to the writer.</summary>
    public void Post(SharedBuffer buffer, int offsetBytes, int lengthBytes)
    {
        lock (_postLock)
        {
            _posted.Enqueue(new Posted(buffer, offsetBytes, lengthBytes));
            if (_sender is null)
            {
                _sender = new Thread(SendPosted, ServerThreads.StackBytes) { IsBackground = true, Name = $"{name} replies" };
                _sender.Start();
            }

            Monitor.Pulse(_postLock);
        }
    }

    /// <summary>Sends what was posted and ends the sending thread. No request may be running any more.</summary>
    public void Dispose()
    {
        lock (_postLock)
        {
            _isClosing = true;
            Monitor.Pulse(_postLock);
        }

        _sender?.Join();
        _batch.Release();
    }

    private bool TryGrow(int bytes)
    {
        SharedBuffer? larger = bytes <= SharedBuffer.ComfortBytes ? SharedBuffer.TryRentComfort(budget) : null;
        larger ??= SharedBuffer.Rent(bytes, budget, connectionEnded.Token);
        if (larger is null)
        {
            return false;
        }

        _batch.Release();
        _batch = larger;
        return true;
    }

    private void Flush(SharedBuffer buffer, int bytes)
    {
        if (bytes != 0)
        {
            Send(buffer.Bytes.AsSpan(0, bytes));
        }
    }

    private void Send(ReadOnlySpan<byte> bytes)
    {
        lock (_sendLock)
        {
            if (connectionEnded.IsCancellationRequested)
            {
                return;
            }

            try
            {
                stream.Write(bytes);
            }
            catch (Exception e) when (e is IOException or ObjectDisposedException)
            {
                // The client is gone, or has not read for too long. Closing wakes the thread that waits for its requests.
                connectionEnded.Cancel();
                stream.Dispose();
            }
        }
    }

    private void SendPosted()
    {
        List<Posted> taken = [];
        byte[] gathered = new byte[SharedBuffer.BaseBytes];
        while (TakePosted(taken))
        {
            int gatheredBytes = 0;
            foreach (Posted reply in taken)
            {
                bool isSmall = reply.LengthBytes <= SmallReplyBytes;
                if (!isSmall || gatheredBytes + reply.LengthBytes > gathered.Length)
                {
                    Send(gathered.AsSpan(0, gatheredBytes));
                    gatheredBytes = 0;
                }

                ReadOnlySpan<byte> bytes = reply.Buffer.Bytes.AsSpan(reply.OffsetBytes, reply.LengthBytes);
                if (isSmall)
                {
                    bytes.CopyTo(gathered.AsSpan(gatheredBytes));
                    gatheredBytes += bytes.Length;
                }
                else
                {
                    Send(bytes);
                }

                reply.Buffer.Release();
            }

            Send(gathered.AsSpan(0, gatheredBytes));
            taken.Clear();
        }
    }

    private bool TakePosted(List<Posted> taken)
    {
        lock (_postLock)
        {
            while (_posted.Count == 0)
            {
                if (_isClosing)
                {
                    return false;
                }

                Monitor.Wait(_postLock);
            }

            while (_posted.TryDequeue(out Posted reply))
            {
                taken.Add(reply);
            }

            return true;
        }
    }

    private readonly record struct Posted(SharedBuffer Buffer, int OffsetBytes, int LengthBytes);
}
