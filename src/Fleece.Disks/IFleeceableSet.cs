// SPDX-License-Identifier: MIT
namespace Fleece.Disks;

/// <summary>Disks whose sessions can begin at one instant.</summary>
internal interface IFleeceableSet
{
    /// <summary>The disks.</summary>
    IReadOnlyList<IFleeceable> Disks { get; }

    /// <summary>Begins a session of each disk, all at one instant between the call and its return.</summary>
    /// <param name="options">One for each disk, in the same order. Their <see cref="SessionOptions.Quiesce"/> are equal.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    /// <exception cref="Fleece.Block.BlockException">Why not; no disk has a new session then.</exception>
    ValueTask<IReadOnlyList<IFleeceSession>> BeginSessionsAsync(
        IReadOnlyList<SessionOptions> options, CancellationToken cancellationToken);
}
