// SPDX-License-Identifier: MIT
namespace Fleece.Nbd.Client;

/// <summary>Requests that are not in use, so that a busy node allocates none.</summary>
internal sealed class RequestPool
{
    // As many as the deepest queue of a guest; more are left to the collector.
    private const int MaximumCount = 256;

    private readonly Lock _gate = new();
    private readonly Stack<NbdRequest> _free = new();

    public NbdRequest Rent()
    {
        lock (_gate)
        {
            if (_free.TryPop(out NbdRequest? request))
            {
                return request;
            }
        }

        return new NbdRequest(this);
    }

    public void Return(NbdRequest request)
    {
        lock (_gate)
        {
            if (_free.Count < MaximumCount)
            {
                _free.Push(request);
            }
        }
    }
}
