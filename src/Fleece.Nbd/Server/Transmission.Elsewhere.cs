// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Server;

/// <content>Requests that go on, or begin, on another thread than the connection's.</content>
internal sealed partial class Transmission
{
    private void SendElsewhere(in RequestHeader request, ReadOnlyMemory<byte> payload, SharedBuffer? holder, SharedBuffer? reply)
    {
        _inFlight.Enter((long)request.Length);
        _threads.Post(new Elsewhere(this, request, payload, holder, reply));
    }

    // A status goes on elsewhere only with memory for its reply and for the extents before they are one.
    private bool TryRentStatus(in RequestHeader request, out SharedBuffer? reply)
    {
        reply = request.Command == NbdCommand.BlockStatus
            ? SharedBuffer.TryRent(2 * _contextCount * SharedBuffer.BaseBytes, _budget)
            : null;
        return reply is not null || request.Command != NbdCommand.BlockStatus;
    }

    /// <summary>Waits for a read or write, posts its reply and gives back what it held.</summary>
    private async Task FinishAsync(
        RequestHeader request, ValueTask io, SharedBuffer? reply, int offsetBytes, SharedBuffer? payloadHolder)
    {
        Refusal refusal = default;
        try
        {
            await io.ConfigureAwait(false);
        }
#pragma warning disable CA1031 // Whatever a request ends with goes to its client; nobody else waits for it.
        catch (Exception e)
#pragma warning restore CA1031
        {
            refusal = RequestFailure.From(e, request);
        }

        payloadHolder?.Release();
        if (reply is null)
        {
            _replies.PostShort(request, refusal, (long)request.Length);
            return;
        }

        int writtenBytes = FormatReadOrError(reply.Bytes.Span[offsetBytes..], request, refusal);
        _replies.Post(reply, offsetBytes, writtenBytes, (long)request.Length);
    }

    private async Task FinishOtherAsync(
        RequestHeader request, ValueTask<StatusAnswer?> serving, SharedBuffer? reply, long inFlightBytes)
    {
        Refusal refusal = default;
        StatusAnswer? answer = null;
        try
        {
            answer = await serving.ConfigureAwait(false);
        }
#pragma warning disable CA1031 // As in FinishAsync.
        catch (Exception e)
#pragma warning restore CA1031
        {
            refusal = RequestFailure.From(e, request);
        }

        if (answer is null || reply is null)
        {
            reply?.Release();
            _replies.PostShort(request, refusal, inFlightBytes);
            return;
        }

        int writtenBytes = 0;
        for (int i = 0; i < answer.Contexts.Count; i++)
        {
            writtenBytes += FormatStatus(reply.Bytes.Span[writtenBytes..], request, answer, i);
        }

        _replies.Post(reply, 0, writtenBytes, inFlightBytes);
    }

    /// <summary>A read or write that another thread begins.</summary>
    private sealed class Elsewhere(
        Transmission connection, RequestHeader request, ReadOnlyMemory<byte> payload, SharedBuffer? holder, SharedBuffer? reply)
        : IThreadWork
    {
        public void Execute()
        {
            Pace pace = request.Command == NbdCommand.Read ? connection._readPace : connection._writePace;
            Pace.Start start = pace.Begin();
            ValueTask io;
            try
            {
                io = request.Command == NbdCommand.Read
                    ? connection._service.ReadAsync(
                        request, reply!.Bytes.Slice(connection._format.ReadPrefixBytes, (int)request.Length))
                    : connection._service.WriteAsync(request, payload);
            }
#pragma warning disable CA1031 // Goes to the client, as what fails later does.
            catch (Exception e)
#pragma warning restore CA1031
            {
                io = ValueTask.FromException(e);
            }

            pace.Note(start, (long)request.Length);
            _ = connection.FinishAsync(request, io, reply, 0, holder);
        }
    }

    /// <summary>Another request that another thread begins.</summary>
    private sealed class OtherElsewhere(
        Transmission connection, RequestHeader request, ReadOnlyMemory<byte> payload, SharedBuffer? reply) : IThreadWork
    {
        public void Execute()
        {
            Pace.Start start = connection._otherPace.Begin();
            ValueTask<StatusAnswer?> serving = connection._service.ServeAsync(request, payload);
            connection._otherPace.Note(start, 0);
            _ = connection.FinishOtherAsync(request, serving, reply, 0);
        }
    }
}
