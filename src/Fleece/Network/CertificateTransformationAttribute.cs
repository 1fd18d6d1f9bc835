// SPDX-License-Identifier: MIT
using System.Collections;
using System.Management.Automation;
using System.Security.Cryptography.X509Certificates;
using Fleece.Block;
using Fleece.Hosting.Control;
using Fleece.Nbd.Tls;

namespace Fleece;

/// <summary>Makes a certificate with its key of the path of its file.</summary>
internal sealed class CertificateTransformationAttribute : FileTransformationAttribute
{
    private protected override object? Load(object? value, EngineIntrinsics engine) => value switch
    {
        null or X509Certificate2 => value,
        string path => LoadWithKey(Resolve(path, engine)),
        _ => throw NotACertificate(value, nameof(NetworkCommand.TlsCertificate)),
    };

    private static X509Certificate2 LoadWithKey(string path) =>
        CertificateFiles.Remember(TlsCertificates.LoadWithKey(path), Path.GetFullPath(path));
}

/// <summary>Makes the certificates of authorities of the paths of their files, each of which may hold several.</summary>
internal sealed class AuthorityTransformationAttribute : FileTransformationAttribute
{
    private protected override object? Load(object? value, EngineIntrinsics engine) => value switch
    {
        null => value,
        IEnumerable items and not string => items.Cast<object?>().SelectMany(item => One(Unwrap(item), engine)).ToArray(),
        _ => One(value, engine).ToArray(),
    };

    private static IEnumerable<X509Certificate2> One(object? value, EngineIntrinsics engine) => value switch
    {
        X509Certificate2 certificate => [certificate],
        string path => LoadAuthorities(Resolve(path, engine)),
        _ => throw NotACertificate(value, nameof(NetworkCommand.TlsAuthority)),
    };

    private static IEnumerable<X509Certificate2> LoadAuthorities(string path) =>
        TlsCertificates.LoadAuthorities(path).Select(authority => CertificateFiles.Remember(authority, Path.GetFullPath(path)));
}

/// <summary>What makes certificates of paths. What goes wrong is an error of the binding, with the message of the loading.</summary>
[AttributeUsage(AttributeTargets.Property)]
internal abstract class FileTransformationAttribute : ArgumentTransformationAttribute
{
    /// <inheritdoc/>
    public sealed override object? Transform(EngineIntrinsics engineIntrinsics, object? inputData)
    {
        try
        {
            return Load(Unwrap(inputData), engineIntrinsics);
        }
        catch (Exception e) when (e is BlockException or SessionStateException)
        {
            throw new ArgumentTransformationMetadataException(e.Message, e);
        }
    }

    private protected abstract object? Load(object? value, EngineIntrinsics engine);

    private protected static object? Unwrap(object? value)
    {
        object? inner = value is PSObject wrapped ? wrapped.BaseObject : value;
        return inner is FileInfo file ? file.FullName : inner;
    }

    private protected static string Resolve(string path, EngineIntrinsics engine) =>
        engine.SessionState.Path.GetUnresolvedProviderPathFromPSPath(path);

    private protected static BlockException NotACertificate(object? value, string parameter) => new(
        BlockErrors.InvalidArgument,
        $"-{parameter} takes certificates or paths of files, and '{value}' is neither.");
}
