"""The guard in Django and Django REST framework.

requests.py checks Django's requests, views.py has the decorator of views, middleware.py what MIDDLEWARE names, and
rest_framework.py the classes for authentication and permissions.
"""

from affiant.resource.frameworks.django.middleware import GuardMiddleware

__all__ = ["GuardMiddleware"]
