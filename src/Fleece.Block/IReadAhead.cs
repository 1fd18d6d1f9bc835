// SPDX-License-Identifier: MIT
namespace Fleece.Block;

/// <summary>A node that can have its storage begin to read what somebody will ask for.</summary>
/// <remarks>
/// <para>Only speed depends on it: a node without it, or one that passes only part of it on, answers the same bytes.</para>
/// <para>Threading. All members are safe from any thread, under the rules of <see cref="IBlockNode"/> for disposal.</para>
/// </remarks>
public interface IReadAhead
{
    /// <summary>False when <see cref="ReadAhead"/> does nothing, so that a read waits for all of its I/O.</summary>
    bool CanReadAhead { get; }

    /// <summary>Begins to bring a range into the system's cache and does not wait for it. The range lies within the node.</summary>
    /// <exception cref="BlockException">Those of a read, as far as looking a place up meets them. <see cref="BlockDevice"/> drops
    /// them: the read itself reports what is wrong.</exception>
    void ReadAhead(long offsetBytes, long lengthBytes);
}
