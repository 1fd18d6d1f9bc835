// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks;
using Fleece.Disks.Records;
using Fleece.Hosting.Control;

namespace Fleece.Hosting.Client;

/// <summary>Disks of a host, or devices of one guest that it reaches, of which a job begins sessions at one instant.</summary>
/// <remarks>The sessions end without success when this process dies: they belong to the lease.</remarks>
internal sealed class HostFleeceables(HostClient client, RemoteJobs jobs, IReadOnlyList<HostFleeceable> disks) : IFleeceableSet
{
    /// <inheritdoc/>
    public IReadOnlyList<IFleeceable> Disks => disks;

    /// <inheritdoc/>
    public async ValueTask<IReadOnlyList<IFleeceSession>> BeginSessionsAsync(
        IReadOnlyList<SessionOptions> options, CancellationToken cancellationToken)
    {
        List<IDisposable> holds = [.. disks.Select(_ => client.Hold())];
        List<HostSession> opened = [];
        try
        {
            SessionRequest[] requests = [.. disks.Zip(options, (disk, its) => disk.RequestOf(its))];
            IReadOnlyList<SessionInfo> begun = requests.Length == 1
                ? [await jobs.BeginJobSessionAsync(requests[0], cancellationToken).ConfigureAwait(false)]
                : await jobs.BeginJobSessionsAsync(requests, cancellationToken).ConfigureAwait(false);
            try
            {
                for (int index = 0; index < begun.Count; index++)
                {
                    SessionReference session = ReferenceTo(begun[index]);
                    HostSnapshot snapshot = await HostSnapshot
                        .OpenAsync(client, session, discards: true, cancellationToken).ConfigureAwait(false);
                    opened.Add(new HostSession(
                        jobs, disks[index].Reference, session, options[index].Bitmap, snapshot, holds[index]));
                }

                return opened;
            }
            catch
            {
                foreach (SessionInfo session in begun)
                {
                    await EndQuietlyAsync(ReferenceTo(session)).ConfigureAwait(false);
                }

                throw;
            }
        }
        catch
        {
            foreach (HostSession session in opened)
            {
                _ = await session.EndAsync(isSuccess: false).ConfigureAwait(false);
            }

            holds.ForEach(hold => hold.Dispose());
            throw;
        }
    }

    private static SessionReference ReferenceTo(SessionInfo session) => new(session.Id, session.InstantId);

    private async ValueTask EndQuietlyAsync(SessionReference session)
    {
        try
        {
            await jobs.EndJobSessionAsync(session, isSuccess: false, CancellationToken.None).ConfigureAwait(false);
        }
        catch (BlockException)
        {
            // The error that led here says more, and a session that is left ends with the lease.
        }
    }
}
