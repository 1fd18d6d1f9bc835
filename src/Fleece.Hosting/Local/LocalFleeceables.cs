// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks;

namespace Fleece.Hosting.Local;

/// <summary>Mounted disks of this process, of which sessions can begin at one instant.</summary>
internal sealed class LocalFleeceables(IReadOnlyList<Disk> disks, QuietInstant quiet) : IFleeceableSet
{
    /// <inheritdoc/>
    public IReadOnlyList<IFleeceable> Disks => disks;

    /// <inheritdoc/>
    public async ValueTask<IReadOnlyList<IFleeceSession>> BeginSessionsAsync(
        IReadOnlyList<SessionOptions> options, CancellationToken cancellationToken)
    {
        if (options.Count != disks.Count)
        {
            throw new BlockException(
                BlockErrors.InvalidArgument, $"{disks.Count} disks need as many sessions, and {options.Count} are described.");
        }

        return await quiet.BeginAsync(
            options[0].Quiesce,
            () => Session.StartEachAsync([.. disks.Zip(options)], cancellationToken),
            cancellationToken).ConfigureAwait(false);
    }
}
