// SPDX-License-Identifier: MIT
namespace Fleece.Images.Qcow2.Checking;

/// <summary>How often each host cluster is used, counted from nothing.</summary>
/// <remarks>
/// <para>Pages of counters exist only where something is counted, so memory follows what the file holds and not what its fields
/// claim: a byte for each cluster, four where some cluster of the page is used more than 255 times.</para>
/// <para>Threading. One thread.</para>
/// </remarks>
internal sealed class ReferenceCounts
{
    private const int PageBits = 12;
    private const int PageClusters = 1 << PageBits;

    private readonly Dictionary<long, Page> _pages = [];
    private long _lastKey = -1;
    private Page? _last;

    /// <summary>Behind the last cluster that is used.</summary>
    public long EndCluster { get; private set; }

    public uint this[long cluster] =>
        Find(cluster >> PageBits) is { } page ? page.Get((int)cluster & (PageClusters - 1)) : 0;

    /// <summary>Counts uses of a cluster; the counter stops at its largest value.</summary>
    public void Add(long cluster, uint count)
    {
        long key = cluster >> PageBits;
        if (Find(key) is not { } page)
        {
            page = new Page();
            _pages.Add(key, page);
            _last = page;
        }

        page.Add((int)cluster & (PageClusters - 1), count);
        EndCluster = Math.Max(EndCluster, cluster + 1);
    }

    /// <summary>The used clusters of a range, in order. Counting must not go on meanwhile.</summary>
    public IEnumerable<(long Cluster, uint Count)> Used(long startCluster = 0, long endCluster = long.MaxValue)
    {
        foreach (long key in _pages.Keys.Where(key => key >= startCluster >> PageBits && key <= endCluster >> PageBits).Order())
        {
            Page page = _pages[key];
            for (int i = 0; i < PageClusters; i++)
            {
                long cluster = (key << PageBits) + i;
                if (page.Get(i) is var count && count != 0 && cluster >= startCluster && cluster < endCluster)
                {
                    yield return (cluster, count);
                }
            }
        }
    }

    private Page? Find(long key)
    {
        if (_lastKey != key)
        {
            _lastKey = key;
            _last = _pages.GetValueOrDefault(key);
        }

        return _last;
    }

    private sealed class Page
    {
        private byte[]? _narrow = new byte[PageClusters];
        private uint[]? _wide;

        public uint Get(int index) => _narrow is not null ? _narrow[index] : _wide![index];

        public void Add(int index, uint count)
        {
            uint sum = (uint)Math.Min(uint.MaxValue, (ulong)Get(index) + count);
            if (_narrow is not null && sum <= byte.MaxValue)
            {
                _narrow[index] = (byte)sum;
                return;
            }

            _wide ??= Array.ConvertAll(_narrow!, value => (uint)value);
            _narrow = null;
            _wide[index] = sum;
        }
    }
}
