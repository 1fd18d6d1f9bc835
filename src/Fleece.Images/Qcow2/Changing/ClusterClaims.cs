// SPDX-License-Identifier: MIT
namespace Fleece.Images.Qcow2.Changing;

/// <summary>Lets one writer at a time copy a guest cluster.</summary>
/// <remarks>
/// A writer claims at most one range at a time and so never waits for itself. It waits, on its thread, as long as another
/// one copies an overlapping range: some positional reads and writes.
/// <para>Threading. Any thread.</para>
/// </remarks>
internal sealed class ClusterClaims
{
    private readonly List<(long First, long End)> _claimed = [];

    /// <summary>Waits until nobody holds a cluster of the range, and takes it.</summary>
    public void Claim(long first, long count)
    {
        lock (_claimed)
        {
            while (IsClaimed(first, first + count))
            {
                Monitor.Wait(_claimed);
            }

            _claimed.Add((first, first + count));
        }
    }

    public void Release(long first, long count)
    {
        lock (_claimed)
        {
            _claimed.Remove((first, first + count));
            Monitor.PulseAll(_claimed);
        }
    }

    private bool IsClaimed(long first, long end)
    {
        foreach ((long First, long End) other in _claimed)
        {
            if (first < other.End && other.First < end)
            {
                return true;
            }
        }

        return false;
    }
}
